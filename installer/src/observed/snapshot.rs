//! The contents of a cluster at one moment, for the commands; the controller watches instead.

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, TypeMeta},
};

use crate::{
    desired::plan::Live,
    names::{KIND_LABEL, NAMESPACE, SETTINGS},
    objects::{is_owned, reference_of, resource},
    table::{
        cluster::Cluster,
        input::Input,
        policies::{Policies, PolicyKind},
        settings::Settings,
    },
};

/// The input of a compile: fragments, settings, namespaces, Services and EndpointSlices. It has no
/// policies; see [`read_policies`].
///
/// # Errors
/// The API server's error.
pub async fn read(client: &Client, now: Timestamp) -> anyhow::Result<Input> {
    let fragments = ListParams::default().labels(KIND_LABEL);
    let all = ListParams::default();
    let (maps, namespaces, services, slices) = (
        Api::<ConfigMap>::all(client.clone()),
        Api::<Namespace>::all(client.clone()),
        Api::<Service>::all(client.clone()),
        Api::<EndpointSlice>::all(client.clone()),
    );
    let settings = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let (maps, namespaces, services, slices, settings) = tokio::try_join!(
        maps.list(&fragments),
        namespaces.list(&all),
        services.list(&all),
        slices.list(&all),
        settings.get_opt(SETTINGS)
    )
    .context("cannot read the ConfigMaps, namespaces, Services and EndpointSlices")?;
    let mut cluster = Cluster::empty();
    for namespace in &namespaces {
        cluster.put_namespace(namespace);
    }
    for service in &services {
        cluster.put_service(service);
    }
    for slice in &slices {
        cluster.put_slice(slice);
    }
    let mut input = Input::empty(cluster);
    for map in maps.iter().chain(&settings) {
        input.put(map, None, now);
    }
    Ok(input)
}

/// The input with nothing but the settings, for who may read nothing else. Services are unknown.
///
/// # Errors
/// The API server's error.
pub async fn read_settings_only(client: &Client, now: Timestamp) -> anyhow::Result<Input> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let settings = maps.get_opt(SETTINGS).await.context("cannot read the settings")?;
    let mut input = Input::empty(Cluster::default());
    if let Some(map) = &settings {
        input.put(map, None, now);
    }
    Ok(input)
}

/// The user's policies of these kinds, and skycap's own HTTPRoutes.
///
/// # Errors
/// The API server's error. If it does not serve a kind, there are no objects of that kind.
pub async fn read_policies(
    client: &Client,
    kinds: &[PolicyKind],
) -> anyhow::Result<(Policies, Live)> {
    let (mut policies, mut live) = (Policies::default(), Live::new());
    for kind in kinds.iter().copied() {
        let (api_version, name) = kind.names();
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource(api_version, name));
        let objects = match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            objects => objects.with_context(|| format!("cannot list {name}s"))?,
        };
        for mut object in objects {
            object.types = Some(TypeMeta { api_version: api_version.into(), kind: name.into() });
            policies.put(kind, &object);
            if is_owned(&object) {
                live.insert(reference_of(&object), object);
            }
        }
    }
    Ok((policies, live))
}

/// The cluster's settings; `None` if there are none or they are malformed.
///
/// # Errors
/// The API server's error.
pub async fn read_settings(client: &Client) -> anyhow::Result<Option<Settings>> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(SETTINGS).await.context("cannot read the settings")?;
    Ok(map.and_then(|map| Settings::parse(&map, None).ok()))
}

//! `install` rejects what it cannot do before it writes anything.

use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    observed::api::{api, read},
};
use skycap_tests::fixture::{Fixture, run_without_skycap};

const INSTALL: [&str; 7] =
    ["install", "--image", "skycap:1", "--module-url", "file:///m.wasm", "--wait", "0"];

#[test]
fn install_writes_nothing_if_it_cannot_install() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let client = fixture.cluster.client.clone();
        permissions_are_missing(fixture).await?;

        let config = json!({"mesh": "rootNamespace: elsewhere\n"});
        let mesh = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": config});
        fixture.apply(&mesh).await?;
        is_rejected(fixture, "--istio-namespace elsewhere").await?;
        fixture.delete_object(&mesh).await?;

        make_istio_too_old(&client).await?;
        is_rejected(fixture, "`match`").await?;

        let deployments = Api::<Deployment>::namespaced(client, "istio-system");
        deployments.delete("istiod", &DeleteParams::default()).await?;
        is_rejected(fixture, "istiod").await
    })
}

#[test]
fn objects_of_others_with_skycaps_names_stay_as_they_are() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let client = fixture.cluster.client.clone();
        let wasm = json!({"wasm": {"url": "file:///theirs.wasm"}});
        for (api_version, kind, name, spec) in [
            ("extensions.istio.io/v1alpha1", "TrafficExtension", "skycap", wasm),
            ("networking.istio.io/v1alpha3", "EnvoyFilter", "skycap-dispatch", json!({})),
        ] {
            let theirs = json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {"name": name, "namespace": "istio-system"},
                "spec": spec,
            });
            fixture.apply(&theirs).await?;
            let message = fixture.skycap_fails(&INSTALL, 1).await?;
            let wanted = format!("{kind} istio-system/{name}");
            anyhow::ensure!(message.contains(&wanted), "{message}");
            // `sync` and `uninstall` leave it as it is, too.
            fixture.skycap_fails(&["sync", "--module-url", "file:///m.wasm"], 1).await?;
            fixture.skycap(&["uninstall"]).await?;
            let live = read(&client, &fixture.mesh.references()).await?;
            let still = live.values().find(|object| object.metadata.name.as_deref() == Some(name));
            anyhow::ensure!(still.is_some_and(|object| object.data["spec"] == spec), "{still:?}");
            fixture.delete_object(&theirs).await?;
            for reference in fixture.mesh.references() {
                let _ = api(&client, &reference)
                    .delete(&reference.name, &DeleteParams::default())
                    .await;
            }
        }
        Ok(())
    })
}

/// Checks that `install` fails with a message that contains this, and leaves nothing behind.
async fn is_rejected(fixture: &Fixture, wanted: &str) -> anyhow::Result<()> {
    let message = fixture.skycap_fails(&INSTALL, 1).await?;
    anyhow::ensure!(message.contains(wanted), "expected `{wanted}` in: {message}");
    fixture.nothing_is_left().await
}

/// A user who may only read.
async fn permissions_are_missing(fixture: &Fixture) -> anyhow::Result<()> {
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]);
    let token = fixture.user_with(rules).await?;
    let output = fixture.command_with(&token, &INSTALL)?.output().await?;
    let message = String::from_utf8(output.stderr)?;
    anyhow::ensure!(
        output.status.code() == Some(1) && message.contains("create Namespace skycap-system"),
        "{message}"
    );
    fixture.nothing_is_left().await
}

/// Removes the field `match` from the CRD: an Istio without it cannot load a plugin for outbound
/// requests only.
async fn make_istio_too_old(client: &Client) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    let crd = PluginKind::TrafficExtension.crd();
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    // A JSON patch would need a crate that nothing else here needs.
    let mut old = serde_json::to_value(crds.get(crd).await?)?;
    if let Some(fields) = old.pointer_mut(fields).and_then(Value::as_object_mut) {
        fields.remove("match");
    }
    crds.replace(crd, &PostParams::default(), &serde_json::from_value(old)?).await?;
    Ok(())
}

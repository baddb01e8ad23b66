//! The cost of the control plane while one developer has added what costs most.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, names::NAMESPACE};

use super::{create, create_services, milliseconds, row, wait_for};
use crate::{
    cluster::{Cluster, Controller},
    compare::Row,
};

/// What another team of the cluster notices of [`FRAGMENTS`] hostile ConfigMaps.
pub(super) struct Hostile {
    /// The longest time from a change of another namespace's sandbox to the table in the mesh.
    pub(super) toggled: Duration,
    /// The time from the kill switch to the empty table in the mesh.
    pub(super) killed: Duration,
    /// The longest round of the controller that was seen.
    pub(super) round: Duration,
    /// The most resident memory of the controller.
    pub(super) peak_kib: u64,
}

impl Hostile {
    pub(super) fn rows(&self) -> [Row; 4] {
        let of = |what: &str, value| row(&format!("10,000 hostile fragments: {what}"), value);
        [
            of("another namespace's sandbox toggled, slowest of 10", milliseconds(self.toggled)),
            of("the kill switch", milliseconds(self.killed)),
            of("longest round of the controller", milliseconds(self.round)),
            of("peak memory of the controller", format!("{} MB", self.peak_kib / 1024)),
        ]
    }
}

/// Fills a namespace with groups of 200,000 members that do not exist, a chain of 2,000 keys, fragments
/// of 60 KB, and as many sandboxes as [`FRAGMENTS`] leave, and measures another namespace.
///
/// They are created before skycap is installed, so that its admission policy refuses none of them.
pub(super) async fn hostile() -> anyhow::Result<Hostile> {
    let cluster = Cluster::start(PluginKind::WasmPlugin).await?;
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let evil = serde_json::from_value(json!({"metadata": {"name": "evil"}}))?;
    namespaces.create(&PostParams::default(), &evil).await?;
    for namespace in ["shop", "evil"] {
        create_services(&cluster, namespace, &["cart".into(), "cart-pr-1".into()]).await?;
    }
    create::<ConfigMap>(&cluster, "evil", fragments()).await?;
    let victim = map("victim".into(), "sandbox", json!({"routes": "cart: cart-pr-1\n"}));
    create::<ConfigMap>(&cluster, "shop", [victim].into_iter()).await?;
    cluster.install().await?;
    let controller = Controller::start(&cluster, "hostile", &[]).await?;
    wait_for(&cluster, |table| table.keys.iter().any(|(key, _)| key == "victim")).await?;
    let mut round = Duration::ZERO;
    let mut toggled = Duration::ZERO;
    for change in 0..10 {
        let is_on = change % 2 == 1;
        toggled = toggled.max(toggle(&cluster, is_on).await?);
        round = round.max(last_round(&controller).await?);
    }
    let killed = kill(&cluster).await?;
    round = round.max(last_round(&controller).await?);
    Ok(Hostile { toggled, killed, round, peak_kib: controller.peak_kib()? })
}

/// Enables or disables the other namespace's sandbox. Returns the time until the mesh knows it.
async fn toggle(cluster: &Cluster, is_on: bool) -> anyhow::Result<Duration> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
    let patch = Patch::Merge(json!({"data": {"enabled": is_on.to_string()}}));
    let begun = Instant::now();
    maps.patch("victim", &PatchParams::default(), &patch).await?;
    wait_for(cluster, |table| table.keys.iter().any(|(key, _)| key == "victim") == is_on).await?;
    Ok(begun.elapsed())
}

/// Turns skycap off for the whole mesh. Returns the time until the mesh knows it.
async fn kill(cluster: &Cluster) -> anyhow::Result<Duration> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), NAMESPACE);
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"enabled": "false"}});
    let begun = Instant::now();
    let parameters = PatchParams::apply("compare").force();
    maps.patch("skycap", &parameters, &Patch::Apply(patch)).await?;
    wait_for(cluster, |table| !table.enabled).await?;
    Ok(begun.elapsed())
}

async fn last_round(controller: &Controller) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs_f64(controller.metric("skycap_controller_round_seconds").await?))
}

fn fragments() -> impl Iterator<Item = Value> {
    let group = |n: usize| {
        let members: Vec<_> = (0..64).map(|member| format!("nobody-{n}-{member}")).collect();
        map(format!("group-{n}"), "group", json!({"members": members.join(", ")}))
    };
    let link = |n: usize| {
        let data = json!({"extends": format!("link-{}", n + 1), "routes": "cart: cart-pr-1\n"});
        map(format!("link-{n}"), "sandbox", data)
    };
    let long = |n: usize| {
        let field = ["key", "ttl", "extends", "routes", "onUnavailable", "unknown"][n % 6];
        map(format!("long-{n}"), "sandbox", json!({field: "x".repeat(60_000)}))
    };
    let plain =
        |n: usize| map(format!("plain-{n}"), "sandbox", json!({"routes": "cart: cart-pr-1\n"}));
    let rest = FRAGMENTS - GROUPS - LINKS - LONG;
    let joined = (0..GROUPS).map(group).chain((0..LINKS).map(link));
    joined.chain((0..LONG).map(long)).chain((0..rest).map(plain))
}

fn map(name: String, kind: &str, data: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"skycap.dev/kind": kind}}, "data": data})
}

const FRAGMENTS: usize = 10_000;

/// Of 64 members each: 200,000.
const GROUPS: usize = 3_125;

const LINKS: usize = 2_000;

const LONG: usize = 60;

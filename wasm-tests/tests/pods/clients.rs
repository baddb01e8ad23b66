//! Clients of every kind of Pod, of both revisions of Istio: which of them reach the sandbox.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use skycap_tests::{
    cluster::Image,
    fixture::{
        Fixture,
        manifests::sandbox,
        pods::{BASELINE_PATH, with_pods},
    },
    shop::Asked,
};

#[test]
fn clients_reach_the_sandbox_by_their_sidecars() -> anyhow::Result<()> {
    with_pods("clients::clients_reach_the_sandbox_by_their_sidecars", async |fixture| {
        // A CronJob starts at a full minute.
        fixture.patience *= 2;
        fixture.install_revision(NEXT).await?;
        fixture.install_skycap().await?;
        fixture.open_edge().await?;
        accept_plain_text(fixture).await?;
        fixture.apply(&headless()).await?;
        fixture.add_workload("cart-pr-1").await?;
        let routes = "cart: cart-pr-1\ncart-headless: {to: cart-pr-1, port: 8080, toPort: 80}\n";
        fixture.apply(&sandbox("pr-1", json!({"routes": routes}))).await?;
        fixture.path_becomes("the sandbox", &[KEY], &[BASELINE_PATH], PR_1).await?;
        a_client_of_another_revision_is_routed(fixture).await?;
        for client in &CLIENTS {
            fixture.apply(&client.manifest()).await?;
        }
        for client in &CLIENTS {
            client.is_answered(fixture).await.with_context(|| client.name)?;
        }
        check_finds_a_pod_without_a_sidecar(fixture).await
    })
}

/// A Pod that asks a Service with a sandbox's key.
struct Client {
    name: &'static str,
    namespace: &'static str,
    kind: &'static str,
    service: &'static str,
    labels: &'static [(&'static str, &'static str)],
    annotations: &'static [(&'static str, &'static str)],
    /// The path that each answer must have taken.
    path: &'static str,
    /// Whether its first request must be answered.
    at_once: bool,
}

const CLIENTS: [Client; 7] = [
    Client { name: "job", kind: "Job", annotations: NATIVE, ..POD },
    Client { name: "cron-job", kind: "CronJob", annotations: NATIVE, ..POD },
    Client { name: "native-sidecar", annotations: NATIVE, at_once: true, ..POD },
    Client { name: "starts-before-its-sidecar", annotations: CLASSIC, ..POD },
    Client { name: "held-until-the-proxy-starts", annotations: HELD, at_once: true, ..POD },
    Client { name: "of-a-headless-service", service: "cart-headless:8080", ..POD },
    Client { name: "without-a-sidecar", labels: NO_SIDECAR, path: "cart > pricing", ..POD },
];

const POD: Client = Client {
    name: "",
    namespace: "shop",
    kind: "Pod",
    service: "cart:80",
    labels: &[],
    annotations: &[],
    path: "cart-pr-1 > pricing",
    at_once: false,
};

impl Client {
    fn manifest(&self) -> Value {
        let (api_version, spec) = match self.kind {
            "Pod" => ("v1", self.pod()["spec"].clone()),
            "Job" => ("batch/v1", json!({"template": self.pod()})),
            _ => {
                let job = json!({"spec": {"template": self.pod()}});
                ("batch/v1", json!({"schedule": "* * * * *", "jobTemplate": job}))
            }
        };
        let mut metadata = self.pod()["metadata"].clone();
        metadata["name"] = self.name.into();
        metadata["namespace"] = self.namespace.into();
        json!({"apiVersion": api_version, "kind": self.kind, "metadata": metadata, "spec": spec})
    }

    fn pod(&self) -> Value {
        let mut labels: BTreeMap<_, _> = self.labels.iter().copied().collect();
        labels.insert("client", self.name);
        let annotations: BTreeMap<_, _> = self.annotations.iter().copied().collect();
        let container = json!({
            "name": "app",
            "image": Image::reference("workload"),
            "args": ["ask", self.service],
            "env": [{"name": "BAGGAGE", "value": "sandbox=pr-1"}],
        });
        json!({
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        })
    }

    async fn is_answered(&self, fixture: &Fixture) -> anyhow::Result<()> {
        let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), self.namespace);
        let of_client = ListParams::default().labels(&format!("client={}", self.name));
        let of_app = LogParams { container: Some("app".into()), ..<_>::default() };
        let asked = async || {
            let pod = pods.list(&of_client).await?.items.into_iter().next().context("no Pod")?;
            let log = pods.logs(&pod.name_any(), &of_app).await?;
            serde_json::from_str::<Asked>(&log).with_context(|| format!("its log is `{log}`"))
        };
        fixture.until(self.name, async |_: &Fixture| asked().await.map(|_| true)).await?;
        let Asked { failed, paths } = asked().await?;
        println!("{}: {failed} failed before the first answer, then {paths:?}", self.name);
        let is_right = paths.keys().all(|path| path == self.path);
        anyhow::ensure!(is_right, "expected `{}`, but the answers are {paths:?}", self.path);
        anyhow::ensure!(!self.at_once || failed == 0, "{failed} requests failed at its start");
        Ok(())
    }
}

/// A client in a namespace whose sidecars are injected and configured by another istiod than the shop's.
async fn a_client_of_another_revision_is_routed(fixture: &Fixture) -> anyhow::Result<()> {
    let client = Client {
        name: "of-another-revision",
        namespace: "team",
        service: "cart.shop:80",
        // Its sidecar stays when it has ended.
        annotations: CLASSIC,
        ..POD
    };
    fixture
        .apply(&json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": client.namespace, "labels": {"istio.io/rev": NEXT}},
        }))
        .await?;
    fixture.apply(&client.manifest()).await?;
    client.is_answered(fixture).await.context(client.name)?;
    let revisions = sidecars_by_revision(fixture).await?;
    println!("sidecars by the revision that injected them: {revisions:?}");
    let is_expected = revisions.len() == 2 && revisions.get(NEXT) == Some(&1);
    anyhow::ensure!(is_expected, "expected one of `{NEXT}` beside the others");
    let all = revisions.values().sum::<usize>();
    let up_to_date = format!("{all} of {all} sidecars are up to date");
    let are_counted = async |fixture: &Fixture| {
        Ok(fixture.skycap_status(&["status"]).await?.contains(&up_to_date))
    };
    fixture.until("`status` counts the sidecars of both revisions", are_counted).await?;
    Ok(())
}

/// How many Pods have a proxy of Istio, by the revision that injected it.
async fn sidecars_by_revision(fixture: &Fixture) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut revisions = BTreeMap::new();
    for mut pod in Api::<Pod>::all(fixture.cluster.client.clone()).list(&<_>::default()).await? {
        if let Some(revision) = pod.annotations_mut().remove("istio.io/rev") {
            *revisions.entry(revision).or_default() += 1;
        }
    }
    Ok(revisions)
}

/// A Pod that looks like one that is older than the injection: nothing says why it has no sidecar.
async fn check_finds_a_pod_without_a_sidecar(fixture: &Fixture) -> anyhow::Result<()> {
    let mut pod = Client { name: "old", labels: NO_SIDECAR, ..POD }.manifest();
    pod["spec"]["containers"][0]["args"] = json!(["serve", "old", "8080"]);
    fixture.apply(&pod).await?;
    let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), "shop");
    let patch = Patch::Merge(json!({"metadata": {"labels": {"sidecar.istio.io/inject": null}}}));
    pods.patch("old", &PatchParams::default(), &patch).await?;
    let is_found = async |fixture: &Fixture| {
        let found = fixture.skycap_status(&["check", "-n", "shop", "-o", "json"]).await?;
        Ok(found.contains("this Pod has no sidecar"))
    };
    fixture.until("check finds a Pod without a sidecar", is_found).await?;
    println!("{}", fixture.skycap_status(&["check", "-n", "shop"]).await?);
    Ok(())
}

/// Without a sidecar, a client has no certificate.
async fn accept_plain_text(fixture: &Fixture) -> anyhow::Result<()> {
    fixture
        .apply(&json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "default", "namespace": "shop"},
            "spec": {"mtls": {"mode": "PERMISSIVE"}},
        }))
        .await?;
    Ok(())
}

/// A Service of the cart whose name has the addresses of Pods.
fn headless() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cart-headless", "namespace": "shop"},
        "spec": {
            "clusterIP": "None",
            "selector": {"app": "cart"},
            "ports": [{"name": "http", "port": 8080}],
        },
    })
}

/// The second revision of Istio.
const NEXT: &str = "next";
const NATIVE: &[(&str, &str)] = &[("sidecar.istio.io/nativeSidecar", "true")];
const CLASSIC: &[(&str, &str)] = &[("sidecar.istio.io/nativeSidecar", "false")];
const HELD: &[(&str, &str)] = &[
    ("sidecar.istio.io/nativeSidecar", "false"),
    ("proxy.istio.io/config", "{\"holdApplicationUntilProxyStarts\": true}"),
];
const NO_SIDECAR: &[(&str, &str)] = &[("sidecar.istio.io/inject", "false")];
const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const PR_1: &str = "frontend > cart-pr-1 > pricing";

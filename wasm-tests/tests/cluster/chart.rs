//! The Helm chart: by Helm 4 and Helm 3, it applies what `skycap render` writes.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace},
};
use kube::Api;
use serde_json::Value;
use skycap::{
    desired::istio::PluginKind,
    names::{CONTROLLER, NAMESPACE, SETTINGS},
};
use skycap_tests::{
    cluster::helm_3,
    fixture::{Fixture, run_without_skycap},
};

#[test]
fn the_chart_applies_what_render_writes() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.cluster.start_controllers("namespace-controller")?;
        let chart = fixture.cluster.folder().join("chart").display().to_string();
        fixture.skycap(&["render", "--chart", "--to", &chart]).await?;
        for (version, program) in [(4, fixture.cluster.helm().to_owned()), (3, helm_3()?)] {
            let helm = Helm { program, chart: &chart, fixture };
            renders_the_same(&helm).await.with_context(|| format!("Helm {version}"))?;
            let lives = is_installed_upgraded_and_uninstalled(&helm).await;
            lives.with_context(|| format!("Helm {version}"))?;
        }
        Ok(())
    })
}

async fn renders_the_same(helm: &Helm<'_>) -> anyhow::Result<()> {
    for (flags, values) in CASES {
        let flags: Vec<_> = flags.split_whitespace().collect();
        let required = ["--image", IMAGE, "--module-url", MODULE];
        let rendered = helm.fixture.skycap(&[&["render"][..], &flags, &required].concat()).await?;
        let templated = helm.run_on_chart("template", values).await?;
        let (rendered, templated) = (objects(&rendered)?, objects(&templated)?);
        for (rendered, templated) in rendered.iter().zip(&templated) {
            ensure!(
                rendered == templated,
                "with {flags:?}, render writes\n{rendered:#}\nand the chart\n{templated:#}"
            );
        }
        ensure!(rendered.len() == templated.len(), "with {flags:?}, objects are missing");
    }
    Ok(())
}

/// Flags of `render`, and the values of the chart that mean the same.
const CASES: [(&str, &[&str]); 5] = [
    ("", &[]),
    ("--mesh linkerd", &["--set", "meshes={linkerd}"]),
    ("--mesh gateway-api", &["--set", "meshes={gateway-api}"]),
    (
        "--mesh istio,linkerd --plugin TrafficExtension --istio-namespace mesh",
        &["--set", "meshes={istio,linkerd},module.plugin=TrafficExtension,istioNamespace=mesh"],
    ),
    (
        "--module-pull-secret registry --readers system:authenticated --access-log --spans",
        &[
            "--set",
            "module.pullSecret=registry,readers=system:authenticated,accessLog=true,spans=true",
        ],
    ),
];

/// Values that the chart rejects.
const WRONG: [&str; 8] = [
    "reader=x",
    "meshes={foo}",
    "meshes={}",
    "meshes=istio",
    "module.plugin=Foo",
    "replicas=0",
    "settings.mesh=linkerd",
    "istioNamespace=a: b",
];

async fn is_installed_upgraded_and_uninstalled(helm: &Helm<'_>) -> anyhow::Result<()> {
    let missing = helm.run(&["install", "skycap", helm.chart]).await;
    let message = missing.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(message.contains("set `module.url` to"), "no value is asked for: {message}");
    for wrong in WRONG {
        let accepted = helm.run_on_chart("template", &["--set", wrong]).await.is_ok();
        ensure!(!accepted, "`{wrong}` is accepted");
    }
    helm.run_on_chart("install", &[]).await?;
    let client = &helm.fixture.cluster.client;
    let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    let replicas = async || Ok::<_, kube::Error>(deployments.get(CONTROLLER).await?.spec.replicas);
    ensure!(replicas().await? == Some(2), "the chart has not applied the Deployment");
    let more = ["--set", "replicas=3,nodeSelector.disk=fast,settings.enabled=false"];
    helm.run_on_chart("upgrade", &more).await?;
    ensure!(replicas().await? == Some(3), "the upgrade has no effect");
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let data = maps.get(SETTINGS).await?.data.unwrap_or_default();
    ensure!(data.get("enabled").is_some_and(|value| value == "false"), "{data:?}");
    helm.run(&["uninstall", "skycap"]).await?;
    let namespaces = Api::<Namespace>::all(client.clone());
    let is_gone = async |_: &Fixture| Ok(namespaces.get_opt(NAMESPACE).await?.is_none());
    helm.fixture.until("all is uninstalled", is_gone).await?;
    Ok(())
}

/// A Helm, for a chart and a cluster.
struct Helm<'a> {
    program: PathBuf,
    chart: &'a str,
    fixture: &'a Fixture,
}

impl Helm<'_> {
    /// Runs a command on the chart, with the values that it requires.
    async fn run_on_chart(&self, command: &str, flags: &[&str]) -> anyhow::Result<String> {
        let required = format!("image={IMAGE},module.url={MODULE}");
        let args = [command, "skycap", self.chart, "--set", &required];
        self.run(&[&args, flags].concat()).await
    }

    async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let cluster = &self.fixture.cluster;
        let output = tokio::process::Command::new(&self.program)
            .args(args)
            .env("HOME", cluster.folder())
            .env("KUBECONFIG", cluster.kubeconfig(cluster.admin_token())?)
            .output()
            .await?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "helm {args:?}: {message}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The objects of a stream of YAML, sorted by their kinds and names.
fn objects(yaml: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    let mut objects: Vec<_> = documents.into_iter().filter(Value::is_object).collect();
    objects.sort_by_key(|object| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
    });
    Ok(objects)
}

const IMAGE: &str = "registry.example.com/skycap/controller:0.1.0";
const MODULE: &str = "oci://registry.example.com:5000/skycap/filter:0.1.0@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

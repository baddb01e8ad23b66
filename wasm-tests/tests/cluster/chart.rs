//! The Helm chart: it applies what `skycap render` writes.

use std::path::Path;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::Api;
use serde_json::Value;
use skycap::{
    desired::istio::PluginKind,
    names::{CONTROLLER, NAMESPACE, SETTINGS},
};
use skycap_tests::fixture::{Fixture, run_without_skycap};

#[test]
fn the_chart_applies_what_render_writes() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let chart = fixture.cluster.folder().join("chart");
        let to = chart.display().to_string();
        fixture.skycap(&["render", "--chart", "--to", &to]).await?;
        for (flags, values) in CASES {
            let flags: Vec<_> = flags.split_whitespace().collect();
            let required = ["--image", IMAGE, "--module-url", MODULE];
            let rendered = fixture.skycap(&[&["render"][..], &flags, &required].concat()).await?;
            let required = format!("image={IMAGE},module.url={MODULE}");
            let args = [&["template", "skycap", &to, "--set", &required][..], values].concat();
            let templated = helm(fixture, &args).await?;
            let (rendered, templated) = (objects(&rendered)?, objects(&templated)?);
            for (rendered, templated) in rendered.iter().zip(&templated) {
                anyhow::ensure!(
                    rendered == templated,
                    "with {flags:?}, render writes\n{rendered:#}\nand the chart\n{templated:#}"
                );
            }
            anyhow::ensure!(
                rendered.len() == templated.len(),
                "with {flags:?}, objects are missing"
            );
        }
        is_installed_upgraded_and_uninstalled(fixture, &chart).await
    })
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

async fn is_installed_upgraded_and_uninstalled(
    fixture: &Fixture,
    chart: &Path,
) -> anyhow::Result<()> {
    let chart = chart.display().to_string();
    let missing = helm(fixture, &["install", "skycap", &chart]).await;
    let message = missing.err().map(|error| error.to_string()).unwrap_or_default();
    anyhow::ensure!(message.contains("set `module.url` to"), "no value is asked for: {message}");
    let required = format!("image={IMAGE},module.url={MODULE}");
    let set = ["--set", required.as_str()];
    for wrong in WRONG {
        let args = [&["template", "skycap", &chart][..], &set, &["--set", wrong]].concat();
        anyhow::ensure!(helm(fixture, &args).await.is_err(), "`{wrong}` is accepted");
    }
    helm(fixture, &[&["install", "skycap", &chart][..], &set].concat()).await?;
    let deployments = Api::<Deployment>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    let replicas = async || Ok::<_, kube::Error>(deployments.get(CONTROLLER).await?.spec.replicas);
    anyhow::ensure!(replicas().await? == Some(2), "the chart has not applied the Deployment");
    let more = ["--set", "replicas=3,nodeSelector.disk=fast,settings.enabled=false"];
    helm(fixture, &[&["upgrade", "skycap", &chart][..], &set, &more].concat()).await?;
    anyhow::ensure!(replicas().await? == Some(3), "the upgrade has no effect");
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    let data = maps.get(SETTINGS).await?.data.unwrap_or_default();
    anyhow::ensure!(data.get("enabled").is_some_and(|value| value == "false"), "{data:?}");
    helm(fixture, &["uninstall", "skycap"]).await?;
    anyhow::ensure!(deployments.get_opt(CONTROLLER).await?.is_none(), "the Deployment is left");
    Ok(())
}

async fn helm(fixture: &Fixture, args: &[&str]) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(fixture.cluster.helm())
        .args(args)
        .env("HOME", fixture.cluster.folder())
        .env("KUBECONFIG", fixture.cluster.kubeconfig(fixture.cluster.admin_token())?)
        .output()
        .await?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "helm {args:?}: {message}");
    Ok(String::from_utf8(output.stdout)?)
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

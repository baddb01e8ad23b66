//! From a mesh that has never heard of skycap to one that has forgotten it, on Istio's own programs
//! and under load; and what is refused before anything is written.

mod kubernetes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use kubernetes::{
    Fixture,
    mesh::{Mesh, from},
    run_bare, sandbox,
};
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{cluster::Controller, module};

#[test]
fn installed_upgraded_and_uninstalled_under_load() -> anyhow::Result<()> {
    run_bare(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let url = format!("file://{}", module::build()?.display());
        fixture.cluster.module_url = url.clone();
        let mesh = Mesh::without_skycap(fixture, &["frontend", "cart"]).await?;
        let running = Arc::new(AtomicBool::new(true));
        let load = tokio::spawn(ask_while(Arc::clone(&running)));
        let install = ["install", "--image", "skycap:1", "--module-url", &url, "--wait", "30"];
        let mut command = fixture.command(&install)?;
        let installing = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        // What a kubelet would do: run the controller, and say so.
        let is_applied = async |fixture: &Fixture| Ok(fixture.become_available().await.is_ok());
        fixture.until("the Deployment", is_applied).await?;
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        let output = installing.wait_with_output().await?;
        let told = String::from_utf8(output.stderr)?;
        anyhow::ensure!(
            output.status.success()
                && told.contains("Istio 1.31.0 in istio-system")
                && told.contains("2 of 2 serve the table"),
            "{told}"
        );
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let routed =
            async |_: &Fixture| Ok(from("cart", "pricing.shop", &[KEY]).await? == "pricing-pr-2");
        fixture.until("routed", routed).await?;

        let again = fixture.skycap(&install).await?;
        anyhow::ensure!(again == "nothing to change\n", "{again}");
        // From the version before: another image, and nothing else.
        let upgrade = ["install", "--image", "skycap:2", "--module-url", &url, "--wait", "0"];
        let plan = fixture.skycap(&upgrade).await?;
        anyhow::ensure!(
            plan.matches("change").count() == 1 && plan.contains("image: skycap:2"),
            "{plan}"
        );
        // And from the time before Istio 1.30.
        let mut old = fixture.mesh.of_other_kind();
        old.truncate(1);
        let reference = &old[0];
        let mut wasm_plugin = json!({
            "apiVersion": reference.api_version,
            "kind": reference.kind,
            "metadata": {"name": reference.name, "namespace": "istio-system"},
            "spec": {"url": url, "match": [{"mode": "CLIENT"}]},
        });
        wasm_plugin["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "skycap".into();
        fixture.apply(&wasm_plugin).await?;
        fixture.become_available().await?;
        fixture.skycap(&["install", "--image", "skycap:2", "--module-url", &url]).await?;
        let left = skycap::observed::api::read(&fixture.cluster.client, &old).await?;
        anyhow::ensure!(left.is_empty(), "both kinds of plugin are in force");

        fixture.skycap(&["uninstall"]).await?;
        let baseline =
            async |_: &Fixture| Ok(from("cart", "pricing.shop", &[KEY]).await? == "pricing");
        fixture.until("the baseline again", baseline).await?;
        fixture.nothing_is_left().await?;
        running.store(false, Ordering::Relaxed);
        let asked = load.await??;
        println!("{asked} requests from before install to after uninstall, none lost");
        drop(mesh);
        Ok(())
    })
}

#[test]
fn what_cannot_be_installed_is_refused_whole() -> anyhow::Result<()> {
    run_bare(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let refused = async |wanted: &str| {
            let args =
                ["install", "--image", "skycap:1", "--module-url", "file:///m.wasm", "--wait", "0"];
            let said = fixture.skycap_fails(&args, 1).await?;
            anyhow::ensure!(said.contains(wanted), "expected `{wanted}`, but it said: {said}");
            fixture.nothing_is_left().await
        };
        let client = &fixture.cluster.client;
        for (api_version, kind) in [
            ("extensions.istio.io/v1alpha1", "TrafficExtension"),
            ("networking.istio.io/v1alpha3", "EnvoyFilter"),
        ] {
            let name = if kind == "EnvoyFilter" { "skycap-dispatch" } else { "skycap" };
            let wasm = json!({"url": "file:///theirs.wasm"});
            let spec = if kind == "EnvoyFilter" { json!({}) } else { json!({"wasm": wasm}) };
            let theirs = json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {"name": name, "namespace": "istio-system"},
                "spec": spec,
            });
            fixture.apply(&theirs).await?;
            let args = ["install", "--image", "skycap:1", "--module-url", "file:///m.wasm"];
            let said = fixture.skycap_fails(&args, 1).await?;
            let wanted = format!("skycap did not make {kind} istio-system/{name}");
            anyhow::ensure!(said.contains(&wanted), "{said}");
            // Nor does `uninstall`, or who makes a table without `install`, touch it.
            fixture.skycap_fails(&["sync", "--module-url", "file:///m.wasm"], 1).await?;
            fixture.skycap(&["uninstall"]).await?;
            let live = skycap::observed::api::read(client, &fixture.mesh.references()).await?;
            let still = live.values().find(|object| object.metadata.name.as_deref() == Some(name));
            anyhow::ensure!(still.is_some_and(|object| object.data["spec"] == spec), "{still:?}");
            fixture.delete_object(&theirs).await?;
            let ours = fixture.mesh.references();
            for reference in &ours {
                let api = skycap::observed::api::api(client, reference);
                let _ = api.delete(&reference.name, &DeleteParams::default()).await;
            }
        }

        // Somebody with fewer rights than this takes.
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "viewer"},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}],
        });
        let token = fixture.viewer(&role).await?;
        let mut command =
            fixture.command(&["install", "--module-url", "file:///m.wasm", "--image", "i"])?;
        let output =
            command.env("KUBECONFIG", fixture.cluster.kubeconfig(&token)?).output().await?;
        let said = String::from_utf8(output.stderr)?;
        anyhow::ensure!(
            output.status.code() == Some(1) && said.contains("create Namespace skycap-system"),
            "{said}"
        );
        fixture.nothing_is_left().await?;

        let config = json!({"mesh": "rootNamespace: elsewhere\n"});
        let mesh = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": config});
        fixture.apply(&mesh).await?;
        refused("`--istio-namespace elsewhere`").await?;
        fixture.delete_object(&mesh).await?;

        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        let crd = PluginKind::TrafficExtension.crd();
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/match";
        // kube's own patches of lists of operations want a crate that nothing else here has.
        let mut old = serde_json::to_value(crds.get(crd).await?)?;
        if let Some((fields, name)) = path.rsplit_once('/') {
            let fields = old.pointer_mut(fields).and_then(Value::as_object_mut);
            fields.map(|fields| fields.remove(name));
        }
        crds.replace(crd, &PostParams::default(), &serde_json::from_value(old)?).await?;
        refused("this Istio is too old").await?;

        let deployments = Api::<Deployment>::namespaced(client.clone(), "istio-system");
        deployments.delete("istiod", &DeleteParams::default()).await?;
        refused("there is no istiod").await
    })
}

/// Asks with and without a key; an answer that is no 200 is an error. Gives how often it asked.
async fn ask_while(running: Arc<AtomicBool>) -> anyhow::Result<usize> {
    let mut asked = 0;
    while running.load(Ordering::Relaxed) {
        for (workload, headers) in [("frontend", &[KEY][..]), ("cart", &[])] {
            let way = from(workload, "pricing.shop", headers).await?;
            anyhow::ensure!(way.starts_with("pricing"), "{workload}: `{way}`");
            asked += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(asked)
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-2");

//! The controller on a mesh of the Gateway API: HTTPRoutes on a real API server, under the rights
//! that `install --mesh linkerd` gives. What Linkerd's controller writes, a test writes itself.

mod kubernetes;

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use kubernetes::{Fixture, endpoints, run_on, sandbox, service, settings};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::KEYS_ANNOTATION,
    objects,
    objects::resource,
    table::{
        meshes::{MeshKind, Meshes},
        policies::PolicyKind,
    },
};
use skycap_tests::cluster::Controller;

fn on_linkerd(test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::Linkerd]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        for name in ["cart", "pricing"] {
            fixture.apply(&service(name)).await?;
        }
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        let result = test(fixture).await;
        drop(controller);
        result
    })
}

#[test]
fn a_sandbox_comes_and_goes() -> anyhow::Result<()> {
    on_linkerd(async |fixture| {
        fixture.apply(&theirs("beside", "pricing")).await?;
        let before = http_route(fixture, "beside").await?;
        target(fixture, "cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        has_keys(fixture, &["pr-1"], "a sandbox").await?;
        fixture.apply(&endpoints("cart-pr-1", false)).await?;
        has_keys(fixture, &[], "no ready endpoint").await?;
        fixture.apply(&endpoints("cart-pr-1", true)).await?;
        has_keys(fixture, &["pr-1"], "ready again").await?;
        fixture
            .apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1", "enabled": "false"})))
            .await?;
        has_keys(fixture, &[], "switched off").await?;
        let after = http_route(fixture, "beside").await?;
        anyhow::ensure!(
            after.metadata.resource_version == before.metadata.resource_version,
            "another's was touched"
        );
        Ok(())
    })
}

#[test]
fn many_sandboxes_fit_the_oldest_and_the_newest_crds() -> anyhow::Result<()> {
    on_linkerd(async |fixture| {
        answer_all(fixture);
        let names: Vec<_> = (0..40).map(|n| format!("pr-{n}")).collect();
        for name in &names {
            target(fixture, &format!("cart-{name}")).await?;
            let routes = format!("cart: cart-{name}");
            fixture.apply(&sandbox(name, json!({"routes": routes}))).await?;
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        has_keys(fixture, &names, "forty").await?;
        fixture.until("a report", async |f| Ok(f.summary().await?.keys == 40)).await?;
        // No write when nothing has changed, though the mesh has written its status.
        let versions = generations(fixture).await?;
        fixture.apply(&service("unrelated")).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        anyhow::ensure!(generations(fixture).await? == versions, "it wrote");
        // One more rewrites one, and those that are there keep their keys.
        target(fixture, "cart-more").await?;
        fixture.apply(&sandbox("more", json!({"routes": "cart: cart-more"}))).await?;
        let all: Vec<_> = names.iter().copied().chain(["more"]).collect();
        has_keys(fixture, &all, "one more").await?;
        let rewritten = generations(fixture).await?;
        let rewritten = versions.iter().filter(|version| !rewritten.contains(version)).count();
        anyhow::ensure!(rewritten <= 1, "one more sandbox rewrote {rewritten} HTTPRoutes");

        fixture.cluster.install_oldest_routes().await?;
        fixture.apply(&sandbox("pr-0", json!({"routes": "cart: cart-pr-1"}))).await?;
        // A rule with eight matches, and eight such rules: as much as the oldest CRD takes.
        let rule = |n: usize| {
            let matches: Vec<_> = (0..8)
                .map(|m| json!({"path": {"type": "PathPrefix", "value": format!("/{n}/{m}")}}))
                .collect();
            json!({"matches": matches, "backendRefs": [{"name": "cart", "port": 80}]})
        };
        let mut large = theirs("large", "cart");
        large["spec"]["rules"] = (0..8).map(rule).collect();
        fixture.apply(&large).await?;
        fixture.until("theirs, multiplied", async |f| Ok(routes(f).await?.len() > 40)).await?;
        has_keys(fixture, &all, "the same keys").await?;
        fixture.delete_object(&large).await?;
        fixture.until("as before", async |f| Ok(routes(f).await?.len() < 10)).await?;
        has_keys(fixture, &all, "the same keys").await
    })
}

#[test]
fn the_mesh_is_told_what_it_would_pass_over() -> anyhow::Result<()> {
    on_linkerd(async |fixture| {
        target(fixture, "cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        has_keys(fixture, &["pr-1"], "a sandbox").await?;
        // Accepted by one and not by another.
        let route = routes(fixture).await?.remove(0);
        write_status(fixture, &route, "False").await?;
        let status = fixture.skycap(&["status"]).await?;
        anyhow::ensure!(status.contains("0 accepted, 0 pending, 1 not taken"), "{status}");
        anyhow::ensure!(status.contains("linkerd.io/policy-controller says Accepted"), "{status}");
        write_status(fixture, &route, "True").await?;
        let status = fixture.skycap(&["status"]).await?;
        anyhow::ensure!(status.contains("1 accepted, 0 pending, 0 not taken"), "{status}");

        let mut grpc = theirs("grpc", "cart");
        grpc["kind"] = "GRPCRoute".into();
        grpc["spec"]["rules"] = json!([{"backendRefs": [{"name": "cart", "port": 80}]}]);
        fixture.apply(&grpc).await?;
        has_keys(fixture, &[], "a GRPCRoute").await?;
        fixture
            .until("a report", async |f| Ok(f.report().await?.contains("make it an HTTPRoute")))
            .await?;
        fixture.until("an Event", async |f| Ok(!f.notes("grpc").await?.is_empty())).await?;
        fixture.delete_object(&grpc).await?;
        has_keys(fixture, &["pr-1"], "no GRPCRoute").await?;

        let mut taken = theirs("skycap-pricing-80-0", "cart");
        taken["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "/x"}}]);
        fixture.apply(&taken).await?;
        target(fixture, "pricing-pr-1").await?;
        let both = "cart: cart-pr-1\npricing: pricing-pr-1";
        fixture.apply(&sandbox("pr-1", json!({"routes": both}))).await?;
        fixture.until("a report", async |f| Ok(f.report().await?.contains("rename it"))).await?;
        let theirs = http_route(fixture, "skycap-pricing-80-0").await?;
        anyhow::ensure!(!objects::is_owned(&theirs), "another's was taken");
        Ok(())
    })
}

#[test]
fn a_cluster_moves_from_istio_to_linkerd() -> anyhow::Result<()> {
    let both = Meshes::from_iter([MeshKind::Istio, MeshKind::Linkerd]);
    run_on(&both, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.apply(&service("cart")).await?;
        target(fixture, "cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.apply(&settings(json!({"mesh": "istio"}))).await?;
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.has_key("pr-1", true, "on Istio").await?;
        has_keys(fixture, &[], "not on Linkerd").await?;
        fixture.apply(&settings(json!({"mesh": "istio, linkerd"}))).await?;
        has_keys(fixture, &["pr-1"], "on both").await?;
        fixture.has_key("pr-1", true, "on both").await?;
        fixture.apply(&settings(json!({"mesh": "linkerd"}))).await?;
        fixture.until("no plugin", async |f| Ok(f.plugin().await?.is_none())).await?;
        fixture
            .until("no dispatch route", async |f| Ok(f.dispatch_route().await?.is_none()))
            .await?;
        has_keys(fixture, &["pr-1"], "on Linkerd").await?;
        fixture.apply(&settings(json!({"mesh": "linkerd", "enabled": "false"}))).await?;
        has_keys(fixture, &[], "the kill switch").await?;
        // A mesh for which skycap has no rights is refused, and the others go on.
        fixture.apply(&settings(json!({"mesh": "linkerd, gateway-api"}))).await?;
        has_keys(fixture, &["pr-1"], "on Linkerd").await?;
        fixture
            .until("a report", async |f| Ok(f.report().await?.contains("not for `gateway-api`")))
            .await
    })
}

/// A Service with a ready endpoint.
async fn target(fixture: &Fixture, name: &str) -> anyhow::Result<()> {
    fixture.apply(&service(name)).await?;
    fixture.apply(&endpoints(name, true)).await
}

/// Somebody's HTTPRoute for a Service.
fn theirs(name: &str, service: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": service, "port": 80}],
            "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
        },
    })
}

fn http_routes(fixture: &Fixture) -> Api<DynamicObject> {
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    Api::namespaced_with(fixture.cluster.client.clone(), "shop", &resource(api_version, kind))
}

async fn http_route(fixture: &Fixture, name: &str) -> anyhow::Result<DynamicObject> {
    Ok(http_routes(fixture).get(name).await?)
}

/// skycap's HTTPRoutes.
async fn routes(fixture: &Fixture) -> anyhow::Result<Vec<DynamicObject>> {
    let list = http_routes(fixture).list(&ListParams::default()).await?;
    Ok(list.into_iter().filter(objects::is_owned).collect())
}

/// Names with how often their specs have changed.
async fn generations(fixture: &Fixture) -> anyhow::Result<Vec<(Option<String>, Option<i64>)>> {
    let of = |route: DynamicObject| (route.metadata.name, route.metadata.generation);
    Ok(routes(fixture).await?.into_iter().map(of).collect())
}

/// Waits until skycap's HTTPRoutes hold these keys.
async fn has_keys(fixture: &Fixture, keys: &[&str], what: &str) -> anyhow::Result<()> {
    let mut wanted: Vec<_> = keys.iter().map(ToString::to_string).collect();
    wanted.sort();
    fixture
        .until(what, async |fixture| {
            let mut found = Vec::new();
            for route in routes(fixture).await? {
                let annotations = route.metadata.annotations.unwrap_or_default();
                let keys = annotations.get(KEYS_ANNOTATION).cloned().unwrap_or_default();
                found.extend(keys.split(' ').map(str::to_owned));
            }
            found.sort();
            found.dedup();
            Ok(found == wanted)
        })
        .await
}

/// Answers for every HTTPRoute as Linkerd's policy controller does, until the test ends.
fn answer_all(fixture: &Fixture) {
    let api = http_routes(fixture);
    tokio::spawn(async move {
        loop {
            for route in api.list(&ListParams::default()).await.into_iter().flatten() {
                if route.data["status"]["parents"].as_array().is_none_or(Vec::is_empty) {
                    let name = route.metadata.name.clone().unwrap_or_default();
                    let status = Patch::Merge(status(&route, "True"));
                    drop(api.patch_status(&name, &PatchParams::default(), &status).await);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

async fn write_status(
    fixture: &Fixture,
    route: &DynamicObject,
    accepted: &str,
) -> anyhow::Result<()> {
    let name = route.metadata.name.clone().unwrap_or_default();
    let status = Patch::Merge(status(route, accepted));
    let params = PatchParams::default();
    http_routes(fixture).patch_status(&name, &params, &status).await?;
    Ok(())
}

/// As Linkerd's policy controller writes it (linkerd2: `policy-controller/k8s/status/src/index.rs`).
fn status(route: &DynamicObject, accepted: &str) -> Value {
    json!({"status": {"parents": [{
        "parentRef": route.data["spec"]["parentRefs"][0],
        "controllerName": "linkerd.io/policy-controller",
        "conditions": [{
            "type": "Accepted",
            "status": accepted,
            "reason": if accepted == "True" { "Accepted" } else { "NoMatchingParent" },
            "message": "",
            "lastTransitionTime": Timestamp::now().to_string(),
        }],
    }]}})
}

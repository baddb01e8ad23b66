//! The controller on a mesh of the Gateway API: HTTPRoutes on a real API server, with the permissions
//! that `install --mesh linkerd` grants. There is no Linkerd: the tests write the status that its
//! policy controller writes.

use jiff::Timestamp;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::KEYS_ANNOTATION,
    objects::{self, resource},
    table::{
        meshes::{MeshKind, Meshes},
        policies::PolicyKind,
        report::Report,
    },
};
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{endpoints, route, sandbox, service, settings},
        run_on,
    },
};

/// Runs a test in a cluster with Linkerd's meshes in the settings, two Services, and a controller.
pub(super) fn on_linkerd(
    test: impl AsyncFnOnce(&mut Fixture, &Controller) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::Linkerd]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        for name in ["cart", "pricing"] {
            fixture.apply(&service(name)).await?;
        }
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        test(fixture, &controller).await
    })
}

#[test]
fn a_sandbox_comes_and_goes() -> anyhow::Result<()> {
    on_linkerd(async |fixture, _| {
        fixture.apply(&of_others("beside", "pricing")).await?;
        let before = http_route(fixture, "beside").await?;
        ready_target(fixture, "cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        has_keys(fixture, &["pr-1"], "a sandbox").await?;
        fixture.apply(&endpoints("cart-pr-1", false)).await?;
        has_keys(fixture, &[], "no ready endpoint").await?;
        fixture.apply(&endpoints("cart-pr-1", true)).await?;
        has_keys(fixture, &["pr-1"], "ready again").await?;
        let disabled = json!({"routes": "cart: cart-pr-1", "enabled": "false"});
        fixture.apply(&sandbox("pr-1", disabled)).await?;
        has_keys(fixture, &[], "disabled").await?;
        let after = http_route(fixture, "beside").await?;
        anyhow::ensure!(
            after.metadata.resource_version == before.metadata.resource_version,
            "the HTTPRoute of others was changed"
        );
        Ok(())
    })
}

#[test]
fn status_shows_what_the_mesh_has_accepted() -> anyhow::Result<()> {
    on_linkerd(async |fixture, _| {
        ready_target(fixture, "cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        has_keys(fixture, &["pr-1"], "a sandbox").await?;
        let route = own_routes(fixture).await?.remove(0);
        for (accepted, counts) in [("False", (0, 0, 1)), ("True", (1, 0, 0))] {
            write_status(fixture, &route, accepted).await?;
            let status = fixture.skycap_status(&["status", "-o", "json"]).await?;
            let status: Value = serde_json::from_str(&status)?;
            let routes = &status["httpRoutes"];
            let refused = routes["refused"].as_array().map_or(0, Vec::len);
            let seen = (&routes["accepted"], &routes["pending"], refused);
            anyhow::ensure!(seen == (&json!(counts.0), &json!(counts.1), counts.2), "{status}");
            let table = fixture.skycap_status(&["status"]).await?;
            let names_controller = table.contains("linkerd.io/policy-controller");
            anyhow::ensure!(names_controller == (accepted == "False"), "{table}");
        }
        Ok(())
    })
}

#[test]
fn policies_that_the_mesh_would_ignore_are_rejected() -> anyhow::Result<()> {
    on_linkerd(async |fixture, _| {
        ready_target(fixture, "cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        has_keys(fixture, &["pr-1"], "a sandbox").await?;
        let mut grpc = of_others("grpc", "cart");
        grpc["kind"] = "GRPCRoute".into();
        grpc["spec"]["rules"] = json!([{"backendRefs": [{"name": "cart", "port": 80}]}]);
        fixture.apply(&grpc).await?;
        has_keys(fixture, &[], "a GRPCRoute").await?;
        is_reported(fixture, "shop/grpc").await?;
        fixture.until("an Event", async |f| Ok(!f.notes("grpc").await?.is_empty())).await?;
        fixture.delete_object(&grpc).await?;
        has_keys(fixture, &["pr-1"], "no GRPCRoute").await?;

        // An HTTPRoute of others with a name that skycap needs.
        let mut taken = of_others("skycap-pricing-80-0", "cart");
        taken["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "/x"}}]);
        fixture.apply(&taken).await?;
        ready_target(fixture, "pricing-pr-1").await?;
        let both = "cart: cart-pr-1\npricing: pricing-pr-1";
        fixture.apply(&sandbox("pr-1", json!({"routes": both}))).await?;
        is_reported(fixture, "skycap-pricing-80-0").await?;
        let theirs = http_route(fixture, "skycap-pricing-80-0").await?;
        anyhow::ensure!(!objects::is_owned(&theirs), "the HTTPRoute of others was taken over");
        Ok(())
    })
}

#[test]
fn a_cluster_moves_from_istio_to_linkerd() -> anyhow::Result<()> {
    let both = Meshes::from_iter([MeshKind::Istio, MeshKind::Linkerd]);
    run_on(&both, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.apply(&service("cart")).await?;
        ready_target(fixture, "cart-pr-1").await?;
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
        let has_none = async |f: &Fixture| Ok(f.dispatch_route().await?.is_none());
        fixture.until("no dispatch route", has_none).await?;
        has_keys(fixture, &["pr-1"], "on Linkerd").await?;
        fixture.apply(&settings(json!({"mesh": "linkerd", "enabled": "false"}))).await?;
        has_keys(fixture, &[], "the kill switch").await?;
        // skycap has no permissions for the second mesh: that is reported, and the first is served.
        fixture.apply(&settings(json!({"mesh": "linkerd, gateway-api"}))).await?;
        has_keys(fixture, &["pr-1"], "on Linkerd").await?;
        is_reported(fixture, "`gateway-api`").await
    })
}

/// Waits until the controller's report names this.
async fn is_reported(fixture: &Fixture, name: &str) -> anyhow::Result<()> {
    let what = format!("a report about {name}");
    let is_named = async |f: &Fixture| {
        let report: Report = serde_json::from_str(&f.report().await?)?;
        Ok(report.problems.iter().any(|problem| problem.to_string().contains(name)))
    };
    fixture.until(&what, is_named).await?;
    Ok(())
}

/// Creates a Service with a ready endpoint.
pub(super) async fn ready_target(fixture: &Fixture, name: &str) -> anyhow::Result<()> {
    fixture.apply(&service(name)).await?;
    fixture.apply(&endpoints(name, true)).await
}

/// An HTTPRoute of others for a Service.
pub(super) fn of_others(name: &str, service: &str) -> Value {
    let spec = json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": service, "port": 80}],
        "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
    });
    route("HTTPRoute", name, spec)
}

pub(super) fn http_routes(fixture: &Fixture) -> Api<DynamicObject> {
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    Api::namespaced_with(fixture.cluster.client.clone(), "shop", &resource(api_version, kind))
}

async fn http_route(fixture: &Fixture, name: &str) -> anyhow::Result<DynamicObject> {
    Ok(http_routes(fixture).get(name).await?)
}

/// skycap's HTTPRoutes.
pub(super) async fn own_routes(fixture: &Fixture) -> anyhow::Result<Vec<DynamicObject>> {
    let list = http_routes(fixture).list(&ListParams::default()).await?;
    Ok(list.into_iter().filter(objects::is_owned).collect())
}

/// Waits until skycap's HTTPRoutes have exactly these keys.
pub(super) async fn has_keys(fixture: &Fixture, keys: &[&str], what: &str) -> anyhow::Result<()> {
    let mut wanted: Vec<_> = keys.iter().map(ToString::to_string).collect();
    wanted.sort();
    let holds = async |fixture: &Fixture| {
        let mut found = Vec::new();
        for route in own_routes(fixture).await? {
            let annotations = route.metadata.annotations.unwrap_or_default();
            let keys = annotations.get(KEYS_ANNOTATION).cloned().unwrap_or_default();
            found.extend(keys.split(' ').map(str::to_owned));
        }
        found.sort();
        found.dedup();
        Ok(found == wanted)
    };
    fixture.until(what, holds).await?;
    Ok(())
}

async fn write_status(
    fixture: &Fixture,
    route: &DynamicObject,
    accepted: &str,
) -> anyhow::Result<()> {
    let name = route.metadata.name.clone().unwrap_or_default();
    let status = Patch::Merge(status(route, accepted));
    http_routes(fixture).patch_status(&name, &PatchParams::default(), &status).await?;
    Ok(())
}

/// The status that Linkerd's policy controller writes (linkerd2:
/// `policy-controller/k8s/status/src/index.rs`).
pub(super) fn status(route: &DynamicObject, accepted: &str) -> Value {
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

//! Everything that a controller does, in one run: each of its permissions is needed for a part of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use skycap::{
    desired::plan::Live,
    names::{CANARY, LEASE, NAMESPACE},
    objects::ObjectRef,
    observed::{api, snapshot},
    table::{
        policies::PolicyKind,
        rollout::{Canary, Rollout},
    },
};
use skycap_core::edge::Guard;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{endpoints, istio, route, sandbox, service, settings},
    },
};

use super::queues::rules_are_served;

/// Starts a controller in a cluster without its objects, lets it do its work, and ends it.
///
/// # Errors
/// If a part of the work is not done.
pub(super) async fn do_everything(
    fixture: &Fixture,
    work: &impl AsyncFn(&Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    clean_up(fixture).await?;
    let controller = Controller::spawn(&fixture.cluster, "one", &[]).await?;
    let all = async {
        work(fixture).await?;
        rules_are_served(fixture, &controller).await
    };
    if let Err(error) = all.await {
        controller.kill().await?;
        return Err(error);
    }
    controller.terminate().await?;
    let leases = Api::<Lease>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    let spec = leases.get(LEASE).await?.spec.unwrap_or_default();
    anyhow::ensure!(spec.holder_identity.as_deref() == Some(""), "the Lease is not given back");
    Ok(())
}

/// The work on Istio.
pub(super) async fn work_on_istio(fixture: &Fixture) -> anyhow::Result<()> {
    follow_services(fixture).await?;
    let has_one = async |fixture: &Fixture| Ok(fixture.dispatch_route().await?.is_some());
    fixture.until("a dispatch route", has_one).await?;
    let references = fixture.mesh.references();
    let live = api::read(&fixture.cluster.client, &references).await?;
    for reference in references.iter().filter(|reference| live.contains_key(reference)) {
        repair(fixture, reference).await?;
    }
    add_and_remove_canary(fixture).await?;
    guard_and_free_a_service(fixture).await?;
    fixture.apply(&settings(json!({"dispatch": "authority"}))).await?;
    let has_none = async |fixture: &Fixture| Ok(fixture.dispatch_route().await?.is_none());
    fixture.until("no dispatch route", has_none).await?;
    let selecting = json!({"dispatch": "authority", "namespaces": "skycap.dev/enabled=true"});
    fixture.apply(&settings(selecting)).await?;
    fixture.has_key("pr-1", false, "a namespace that is not selected").await?;
    fixture.apply(&namespace(json!({"skycap.dev/enabled": "true"}))).await?;
    fixture.has_key("pr-1", true, "a namespace that is selected").await?;
    fixture.apply(&sandbox("over", json!({"expires": "2026-01-01T00:00:00Z"}))).await?;
    fixture.is_deleted("over").await?;
    fixture.apply(&sandbox("bad", json!({"routes": "cart: [oops"}))).await?;
    fixture.until("a report", async |f| Ok(f.summary().await?.refused == 1)).await?;
    fixture.until("an Event", async |f| Ok(!f.notes("bad").await?.is_empty())).await.map(drop)
}

/// The work with HTTPRoutes, and when the settings leave Istio.
pub(super) async fn work_on_both_meshes(fixture: &Fixture) -> anyhow::Result<()> {
    apply_pr_1(fixture).await?;
    fixture.apply(&settings(json!({"mesh": "istio, linkerd"}))).await?;
    fixture.has_key("pr-1", true, "on Istio").await?;
    has_http_routes(fixture, true, "on Linkerd").await?;
    add_and_remove_canary(fixture).await?;
    fixture.apply(&settings(json!({"mesh": "linkerd"}))).await?;
    fixture.until("no plugin", async |f| Ok(f.plugin().await?.is_none())).await?;
    // The controller sees each policy of others come and go.
    for policy in policies_of_others() {
        settle().await;
        fixture.apply(&policy).await?;
        has_http_routes(fixture, false, "a policy that excludes them").await?;
        fixture.delete_object(&policy).await?;
        has_http_routes(fixture, true, "the policy is gone").await?;
    }
    Ok(())
}

async fn apply_pr_1(fixture: &Fixture) -> anyhow::Result<()> {
    for name in ["cart", "cart-pr-1"] {
        fixture.apply(&service(name)).await?;
        fixture.apply(&endpoints(name, true)).await?;
    }
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await
}

async fn follow_services(fixture: &Fixture) -> anyhow::Result<()> {
    apply_pr_1(fixture).await?;
    fixture.has_routes("pr-1", 1, "a sandbox").await?;
    fixture.apply(&endpoints("cart-pr-1", false)).await?;
    fixture.has_routes("pr-1", 0, "not ready").await?;
    fixture.apply(&endpoints("cart-pr-1", true)).await?;
    fixture.has_routes("pr-1", 1, "ready again").await?;
    let mut other_port = service("cart-pr-1");
    other_port["spec"]["ports"] = json!([{"name": "http", "port": 8080}]);
    fixture.apply(&other_port).await?;
    let has_moved = async |fixture: &Fixture| {
        let routes = fixture.table().await?.routes;
        Ok(routes.iter().any(|route| route.to_port.is_some_and(|port| port.get() == 8080)))
    };
    fixture.until("another port", has_moved).await.map(drop)
}

/// Each kind of a gateway's routes comes and goes.
async fn guard_and_free_a_service(fixture: &Fixture) -> anyhow::Result<()> {
    let guards = async |is_guarded: bool| {
        let guard = fixture.table().await?.edge.guard;
        Ok((guard != Guard::default()) == is_guarded)
    };
    for route in gateway_routes() {
        settle().await;
        fixture.apply(&route).await?;
        fixture.until("a guarded Service", async |_| guards(true).await).await?;
        settle().await;
        fixture.delete_object(&route).await?;
        fixture.until("no guarded Service", async |_| guards(false).await).await?;
    }
    Ok(())
}

/// Routes with a policy at a gateway.
fn gateway_routes() -> [Value; 3] {
    let http = json!({"rewrite": {"uri": "/"}, "route": [{"destination": {"host": "cart"}}]});
    let spec = json!({"hosts": ["a.example.com"], "gateways": ["entry"], "http": [http]});
    let remove = json!({"remove": ["x-user-id"]});
    let rule = json!({
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": remove}],
        "backendRefs": [{"name": "cart", "port": 80}],
    });
    let at_gateway = json!({"parentRefs": [{"name": "entry"}], "rules": [rule]});
    [
        istio("VirtualService", "entry", spec),
        route("HTTPRoute", "entry", at_gateway.clone()),
        route("GRPCRoute", "entry", at_gateway),
    ]
}

/// Edits one of skycap's objects, and waits until the controller has repaired it.
async fn repair(fixture: &Fixture, reference: &ObjectRef) -> anyhow::Result<()> {
    settle().await;
    let edit = match reference.kind.as_str() {
        "EnvoyFilter" => json!({"spec": {"configPatches": []}}),
        _ => json!({"spec": {"url": "file:///else"}}),
    };
    let api = api::api(&fixture.cluster.client, reference);
    let (params, patch) = (PatchParams::default(), Patch::Merge(edit));
    let _: DynamicObject = api.patch(&reference.name, &params, &patch).await?;
    fixture.is_settled(&format!("{reference} after an edit")).await?;
    Ok(())
}

/// Waits until the round of the last change is over, so that it does not include the next change.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn add_and_remove_canary(fixture: &Fixture) -> anyhow::Result<()> {
    let canary = Canary {
        module: "file:///next.wasm".into(),
        selector: [("app".into(), "cart".into())].into(),
        until: Timestamp::now() + SignedDuration::from_hours(1),
    };
    let rollout = Rollout { canary: Some(canary), ..Rollout::default() };
    fixture.apply(&rollout.manifest()).await?;
    let is_there = async |fixture: &Fixture| Ok(canary_objects(fixture).await?.len() == 2);
    fixture.until("a canary", is_there).await?;
    for reference in canary_objects(fixture).await? {
        repair(fixture, &reference).await?;
    }
    fixture.apply(&Rollout::default().manifest()).await?;
    let is_gone = async |fixture: &Fixture| Ok(canary_objects(fixture).await?.is_empty());
    fixture.until("no canary", is_gone).await.map(drop)
}

async fn canary_objects(fixture: &Fixture) -> anyhow::Result<Vec<ObjectRef>> {
    let live: Live = api::read(&fixture.cluster.client, &fixture.mesh.references()).await?;
    Ok(live.into_keys().filter(|reference| reference.name == CANARY).collect())
}

/// Policies of others that exclude skycap's HTTPRoutes on a Service of Linkerd.
fn policies_of_others() -> [Value; 3] {
    let spec = json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "cart"}],
        "hostnames": ["cart.example.com"],
        "rules": [{"backendRefs": [{"name": "cart", "port": 80}]}],
    });
    let profile = json!({
        "apiVersion": "linkerd.io/v1alpha2",
        "kind": "ServiceProfile",
        "metadata": {"name": "cart.shop.svc.cluster.local", "namespace": "shop"},
        "spec": {"routes": [{"name": "all", "condition": {"pathRegex": ".*"}}]},
    });
    [route("HTTPRoute", "theirs", spec.clone()), route("GRPCRoute", "theirs", spec), profile]
}

/// Waits until skycap has HTTPRoutes, or has none.
async fn has_http_routes(fixture: &Fixture, wanted: bool, what: &str) -> anyhow::Result<()> {
    let holds = async |fixture: &Fixture| {
        let (_, own) =
            snapshot::read_policies(&fixture.cluster.client, &[PolicyKind::HttpRoute]).await?;
        Ok(own.is_empty() != wanted)
    };
    fixture.until(what, holds).await.map(drop)
}

fn namespace(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}})
}

async fn clean_up(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&namespace(json!({}))).await?;
    fixture.apply(&settings(json!({}))).await?;
    fixture.apply(&Rollout::default().manifest()).await?;
    for policy in policies_of_others().into_iter().chain(gateway_routes()) {
        drop(fixture.delete_object(&policy).await);
    }
    let (_, own) =
        snapshot::read_policies(&fixture.cluster.client, &[PolicyKind::HttpRoute]).await?;
    for reference in own.keys() {
        let api = api::api(&fixture.cluster.client, reference);
        drop(api.delete(&reference.name, &DeleteParams::default()).await?);
    }
    fixture.delete_everything().await
}

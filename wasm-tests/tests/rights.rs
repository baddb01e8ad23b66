//! The controller's rights are the least that work: with each taken away, something fails.

mod kubernetes;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use kubernetes::{Fixture, endpoints, install_profiles, run, run_on, sandbox, service, settings};
use serde_json::{Value, json};
use skycap::{
    desired::{installation::Installation, istio::PluginKind, plan::Live},
    names::{CANARY, LEASE, NAMESPACE},
    objects::Object,
    observed::{api, snapshot},
    table::{
        meshes::{MeshKind, Meshes},
        rollout::{Canary, Rollout},
    },
};
use skycap_tests::cluster::Controller;

#[test]
fn no_right_is_there_for_nothing() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.patience = Duration::from_secs(15);
        let rights = each_is_needed(fixture, |_| true, live).await?;
        anyhow::ensure!(rights > 15, "only {rights} rights were tried");
        Ok(())
    })
}

#[test]
fn nor_is_a_right_to_routes() -> anyhow::Result<()> {
    let both = Meshes::from_iter([MeshKind::Istio, MeshKind::Linkerd]);
    run_on(&both, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        install_profiles(fixture).await?;
        fixture.patience = Duration::from_secs(15);
        let of_routes = ["httproutes", "grpcroutes", "serviceprofiles", "delete wasmplugins"];
        let is_of_routes = |right: &str| of_routes.iter().any(|of| right.contains(of));
        let rights = each_is_needed(fixture, is_of_routes, live_on_both).await?;
        anyhow::ensure!(rights == 11, "{rights} rights were tried");
        Ok(())
    })
}

/// Takes each right that is asked for away in turn; gives how many there are.
async fn each_is_needed(
    fixture: &mut Fixture,
    is_asked_for: impl Fn(&str) -> bool,
    live: impl AsyncFn(&Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    everything_works(fixture, &live).await?;
    fixture.patience = Duration::from_secs(3);
    let mut rights = 0;
    for role in &roles(fixture)? {
        for (right, lesser) in lesser_roles(role) {
            if !is_asked_for(&right) {
                continue;
            }
            rights += 1;
            fixture.apply(&lesser).await?;
            let works = everything_works(fixture, &live).await.is_ok();
            fixture.apply(role).await?;
            anyhow::ensure!(!works, "the right to {right} is not needed");
        }
    }
    println!("{rights} rights, each of them needed");
    Ok(rights)
}

/// All that the controller does, from nothing.
async fn everything_works(
    fixture: &Fixture,
    live: &impl AsyncFn(&Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    clean_up(fixture).await?;
    let controller = Controller::spawn(&fixture.cluster, "one", &[]).await?;
    if let Err(error) = live(fixture).await {
        controller.kill().await?;
        return Err(error);
    }
    controller.terminate().await?;
    let leases = Api::<Lease>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    let spec = leases.get(LEASE).await?.spec.unwrap_or_default();
    anyhow::ensure!(spec.holder_identity.as_deref() == Some(""), "the Lease is not given back");
    Ok(())
}

async fn live(fixture: &Fixture) -> anyhow::Result<()> {
    for name in ["cart", "cart-pr-1"] {
        fixture.apply(&service(name)).await?;
        fixture.apply(&endpoints(name, true)).await?;
    }
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    fixture.routes("pr-1", 1, "a sandbox").await?;
    fixture.apply(&endpoints("cart-pr-1", false)).await?;
    fixture.routes("pr-1", 0, "readiness").await?;
    fixture.apply(&endpoints("cart-pr-1", true)).await?;
    fixture.routes("pr-1", 1, "readiness back").await?;
    let mut other_port = service("cart-pr-1");
    other_port["spec"]["ports"] = json!([{"name": "http", "port": 8080}]);
    fixture.apply(&other_port).await?;
    let moved = async |fixture: &Fixture| {
        let routes = fixture.table().await?.routes;
        Ok(routes.iter().any(|route| route.to_port.is_some_and(|port| port.get() == 8080)))
    };
    fixture.until("another port", moved).await?;
    fixture.until("a dispatch route", async |f| Ok(f.dispatch_route().await?.is_some())).await?;
    let edits = [json!({"spec": {"url": "file:///else"}}), json!({"spec": {"configPatches": []}})];
    for (reference, edit) in fixture.mesh.references().iter().zip(edits) {
        // Not in the wake of another change, whose round would see to it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let api = api::api(&fixture.cluster.client, reference);
        let patch = Patch::Merge(edit);
        let _: DynamicObject = api.patch(&reference.name, &PatchParams::default(), &patch).await?;
        fixture.is_settled("what another has edited").await?;
    }
    a_canary_comes_and_goes(fixture).await?;
    fixture.apply(&settings(json!({"dispatch": "authority"}))).await?;
    fixture.until("no dispatch route", async |f| Ok(f.dispatch_route().await?.is_none())).await?;
    let selecting = json!({"dispatch": "authority", "namespaces": "skycap.dev/enabled=true"});
    fixture.apply(&settings(selecting)).await?;
    fixture.has_key("pr-1", false, "a namespace that is not selected").await?;
    fixture.apply(&namespace(json!({"skycap.dev/enabled": "true"}))).await?;
    fixture.has_key("pr-1", true, "a namespace that is selected").await?;
    fixture.apply(&sandbox("bad", json!({"routes": "cart: [oops"}))).await?;
    fixture.until("a report", async |f| Ok(f.summary().await?.refused == 1)).await?;
    fixture.until("an Event", async |f| Ok(!f.notes("bad").await?.is_empty())).await
}

/// A canary, which another edits.
async fn a_canary_comes_and_goes(fixture: &Fixture) -> anyhow::Result<()> {
    let canary = Canary {
        module: "file:///next.wasm".into(),
        selector: [("app".into(), "cart".into())].into(),
        until: Timestamp::now() + jiff::SignedDuration::from_hours(1),
    };
    let rollout = Rollout { canary: Some(canary), ..Rollout::default() };
    fixture.apply(&rollout.manifest()).await?;
    let canary =
        |live: &Live| live.keys().filter(|of| of.name == CANARY).cloned().collect::<Vec<_>>();
    let references = fixture.mesh.references();
    let client = &fixture.cluster.client;
    let is_there =
        async |_: &Fixture| Ok(canary(&api::read(client, &references).await?).len() == 2);
    fixture.until("a canary", is_there).await?;
    for reference in canary(&api::read(client, &references).await?) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let edit = match reference.kind.as_str() {
            "EnvoyFilter" => json!({"spec": {"configPatches": []}}),
            _ => json!({"spec": {"url": "file:///else"}}),
        };
        let api = api::api(client, &reference);
        let patch = Patch::Merge(edit);
        let _: DynamicObject = api.patch(&reference.name, &PatchParams::default(), &patch).await?;
        fixture.is_settled("a canary that another has edited").await?;
    }
    fixture.apply(&Rollout::default().manifest()).await?;
    let is_gone = async |_: &Fixture| Ok(canary(&api::read(client, &references).await?).is_empty());
    fixture.until("no canary", is_gone).await
}

/// What it does with HTTPRoutes, and when the settings leave Istio.
async fn live_on_both(fixture: &Fixture) -> anyhow::Result<()> {
    for name in ["cart", "cart-pr-1"] {
        fixture.apply(&service(name)).await?;
        fixture.apply(&endpoints(name, true)).await?;
    }
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    fixture.apply(&settings(json!({"mesh": "istio, linkerd"}))).await?;
    fixture.has_key("pr-1", true, "on Istio").await?;
    has_routes(fixture, true, "on Linkerd").await?;
    a_canary_comes_and_goes(fixture).await?;
    fixture.apply(&settings(json!({"mesh": "linkerd"}))).await?;
    fixture.until("no plugin", async |f| Ok(f.plugin().await?.is_none())).await?;
    // Each of the policies of others is noticed when it comes, and when it goes.
    for other in others() {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fixture.apply(&other).await?;
        has_routes(fixture, false, "what keeps them from it").await?;
        fixture.delete_object(&other).await?;
        has_routes(fixture, true, "what kept them is gone").await?;
    }
    Ok(())
}

/// Policies with which a Service of Linkerd has none of skycap's HTTPRoutes.
fn others() -> [Value; 3] {
    let spec = json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "cart"}],
        "hostnames": ["cart.example.com"],
        "rules": [{"backendRefs": [{"name": "cart", "port": 80}]}],
    });
    let route = |kind: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": "theirs", "namespace": "shop"},
            "spec": spec,
        })
    };
    let profile = json!({
        "apiVersion": "linkerd.io/v1alpha2",
        "kind": "ServiceProfile",
        "metadata": {"name": "cart.shop.svc.cluster.local", "namespace": "shop"},
        "spec": {"routes": [{"name": "all", "condition": {"pathRegex": ".*"}}]},
    });
    [route("HTTPRoute"), route("GRPCRoute"), profile]
}

/// Waits until skycap has HTTPRoutes, or has none.
async fn has_routes(fixture: &Fixture, wanted: bool, what: &str) -> anyhow::Result<()> {
    fixture
        .until(what, async |f| {
            let (_, own) = snapshot::read_policies(&f.cluster.client).await?;
            Ok(own.is_empty() != wanted)
        })
        .await
}

fn namespace(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}})
}

async fn clean_up(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&namespace(json!({}))).await?;
    fixture.apply(&settings(json!({}))).await?;
    fixture.apply(&Rollout::default().manifest()).await?;
    for other in others() {
        drop(fixture.delete_object(&other).await);
    }
    let (_, own) = snapshot::read_policies(&fixture.cluster.client).await?;
    for reference in own.keys() {
        let api = api::api(&fixture.cluster.client, reference);
        drop(api.delete(&reference.name, &DeleteParams::default()).await?);
    }
    fixture.delete_everything().await
}

fn roles(fixture: &Fixture) -> anyhow::Result<Vec<Value>> {
    let installation = Installation {
        meshes: fixture.cluster.meshes.clone(),
        mesh: fixture.mesh.clone(),
        image: "skycap".into(),
        access_log: false,
        spans: false,
    };
    let objects = installation.objects()?.into_iter();
    let is_role = |object: &Object| object.reference().kind.ends_with("Role");
    objects.filter(is_role).map(|object| Ok(serde_json::to_value(object)?)).collect()
}

/// The role without each of its verbs on each of its resources in turn.
fn lesser_roles(role: &Value) -> Vec<(String, Value)> {
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    let texts = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lesser = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for resource in texts(&rule["resources"]) {
            for verb in texts(&rule["verbs"]) {
                let without = |field: &str, value: &Value| -> Value {
                    texts(&rule[field]).into_iter().filter(|other| other != value).collect()
                };
                // The other resources with all verbs, and this one with the other verbs.
                let (mut others, mut this) = (rule.clone(), rule.clone());
                others["resources"] = without("resources", &resource);
                this["resources"] = json!([resource]);
                this["verbs"] = without("verbs", &verb);
                let mut changed = rules.clone();
                changed.remove(index);
                let is_some = |rule: &Value| {
                    !texts(&rule["resources"]).is_empty() && !texts(&rule["verbs"]).is_empty()
                };
                changed.extend([others, this].into_iter().filter(is_some));
                let mut role = role.clone();
                role["rules"] = changed.into();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let right = [text(&verb), text(&resource), "by".into(), text(&role["kind"])];
                lesser.push((right.join(" "), role));
            }
        }
    }
    lesser
}

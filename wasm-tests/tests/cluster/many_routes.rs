//! Many sandboxes on a mesh of the Gateway API: the limits of the CRDs, and what one more costs.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{sandbox, service},
    },
};

use super::http_routes::{
    has_keys, http_routes, of_others, on_linkerd, own_routes, ready_target, status,
};

#[test]
fn one_more_sandbox_rewrites_one_http_route() -> anyhow::Result<()> {
    on_linkerd(async |fixture, controller| {
        let names = add_forty(fixture).await?;
        // A change that the table does not depend on, which is written about 50 ms later if it is
        // written at all; then a sandbox, whose effect proves that the controller has seen both.
        let before = generations(fixture).await?;
        let writes = controller.writes().await?;
        fixture.apply(&service("unrelated")).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
        ready_target(fixture, "cart-more").await?;
        fixture.apply(&sandbox("more", json!({"routes": "cart: cart-more"}))).await?;
        let all: Vec<_> = names.iter().map(String::as_str).chain(["more"]).collect();
        has_keys(fixture, &all, "one more").await?;
        fixture.until("a report", async |f| Ok(f.summary().await?.keys == 41)).await?;
        let after = generations(fixture).await?;
        let rewritten = before.iter().filter(|route| !after.contains(route)).count();
        let created = after.len() - before.len();
        println!("one more sandbox: {rewritten} HTTPRoutes rewritten, {created} created");
        anyhow::ensure!(rewritten + created == 1, "{rewritten} rewritten and {created} created");
        // The sandbox's HTTPRoute, the report with the sandbox, and the report that the target exists.
        let writes = controller.writes().await? - writes;
        anyhow::ensure!(writes <= 3.0, "{writes} writes for one more sandbox");
        Ok(())
    })
}

#[test]
fn many_sandboxes_fit_the_oldest_and_the_newest_crds() -> anyhow::Result<()> {
    on_linkerd(async |fixture, _: &Controller| {
        let names = add_forty(fixture).await?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        fixture.cluster.install_oldest_routes().await?;
        // A change of a CRD ends the watches, and the controller waits some seconds before the next try.
        fixture.patience = Duration::from_secs(60);
        fixture.apply(&sandbox("pr-0", json!({"routes": "cart: cart-pr-1"}))).await?;
        // Eight rules with eight matches each: as many as the oldest CRD accepts.
        let rule = |n: usize| {
            let matches: Vec<_> = (0..8)
                .map(|m| json!({"path": {"type": "PathPrefix", "value": format!("/{n}/{m}")}}))
                .collect();
            json!({"matches": matches, "backendRefs": [{"name": "cart", "port": 80}]})
        };
        let mut large = of_others("large", "cart");
        large["spec"]["rules"] = (0..8).map(rule).collect();
        fixture.apply(&large).await?;
        let is_multiplied = async |f: &Fixture| {
            let routes = own_routes(f).await?.len();
            anyhow::ensure!(routes > 40, "{routes} HTTPRoutes");
            Ok(true)
        };
        fixture.until("the rules of others, once for each key", is_multiplied).await?;
        has_keys(fixture, &names, "the same keys").await?;
        fixture.delete_object(&large).await?;
        let is_small = async |f: &Fixture| Ok(own_routes(f).await?.len() < 10);
        fixture.until("as few as before", is_small).await?;
        has_keys(fixture, &names, "the same keys").await
    })
}

/// Adds 40 sandboxes of the cart, and waits until all are in HTTPRoutes and in the report.
async fn add_forty(fixture: &Fixture) -> anyhow::Result<Vec<String>> {
    accept_all(fixture);
    let names: Vec<_> = (0..40).map(|n| format!("pr-{n}")).collect();
    for name in &names {
        ready_target(fixture, &format!("cart-{name}")).await?;
        let routes = format!("cart: cart-{name}");
        fixture.apply(&sandbox(name, json!({"routes": routes}))).await?;
    }
    let keys: Vec<_> = names.iter().map(String::as_str).collect();
    has_keys(fixture, &keys, "forty sandboxes").await?;
    fixture.until("a report", async |f| Ok(f.summary().await?.keys == 40)).await?;
    Ok(names)
}

/// Accepts every HTTPRoute as Linkerd's policy controller does, until the test ends.
fn accept_all(fixture: &Fixture) {
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

/// The names of skycap's HTTPRoutes, with the generation of each spec.
async fn generations(fixture: &Fixture) -> anyhow::Result<Vec<Value>> {
    let routes = own_routes(fixture).await?.into_iter();
    Ok(routes.map(|route| json!([route.metadata.name, route.metadata.generation])).collect())
}

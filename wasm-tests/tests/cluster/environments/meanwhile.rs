//! What becomes of a sandbox's ConfigMap that others change while `up` has it, or before.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{Fixture, interruption::Interrupted, run};

use crate::rights::shop::shop;

#[test]
fn others_change_the_config_map() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        for object in shop() {
            fixture.apply(&object).await?;
        }
        let sync = ["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"];
        fixture.skycap(&sync).await?;
        let mut failures = Vec::new();
        failures.extend(the_last_one_to_begin_wins(fixture).await.err());
        failures.extend(what_is_deleted_stays_deleted(fixture).await.err());
        failures.extend(an_end_that_others_have_set_goes(fixture).await.err());
        failures.extend(a_dry_run_prints_no_escapes(fixture).await.err());
        anyhow::ensure!(failures.is_empty(), "{failures:#?}");
        Ok(())
    })
}

/// Also when the first one asks again, because it has heard no answer to its first write.
async fn the_last_one_to_begin_wins(fixture: &Fixture) -> anyhow::Result<()> {
    let first = ["up", "two", "-n", "shop", "--fork", "cart", "--no-wait"];
    let mut first = Interrupted::start(fixture, &first, 1).await?;
    anyhow::ensure!(first.is_cut_off().await?.is_none(), "it has nothing to write");
    let last = ["up", "two", "-n", "shop", "--fork", "statefulset/db", "--no-wait"];
    fixture.skycap(&last).await?;
    first.come_back();
    let said = first.says("another `skycap up`").await?;
    println!("{said}");
    let map = maps(fixture).get("two").await?;
    let data = map.data.unwrap_or_default();
    anyhow::ensure!(data["enabled"] == "true" && data["routes"].contains("db"), "{data:?}");
    Ok(())
}

/// An `up` that asks again does not bring it back.
async fn what_is_deleted_stays_deleted(fixture: &Fixture) -> anyhow::Result<()> {
    let up = ["up", "gone", "-n", "shop", "--fork", "cart", "--no-wait"];
    fixture.skycap(&up).await?;
    let up = [&up[..], &["--ttl", "1h"]].concat();
    let mut run = Interrupted::start(fixture, &up, 1).await?;
    anyhow::ensure!(run.is_cut_off().await?.is_none(), "it has nothing to write");
    maps(fixture).delete("gone", &DeleteParams::default()).await?;
    run.come_back();
    println!("{}", run.says("was deleted meanwhile").await?);
    anyhow::ensure!(maps(fixture).get_opt("gone").await?.is_none(), "it is back");
    Ok(())
}

/// A ConfigMap with `ttl` and `expires` would be refused.
async fn an_end_that_others_have_set_goes(fixture: &Fixture) -> anyhow::Result<()> {
    let up = ["up", "end", "-n", "shop", "--fork", "cart", "--no-wait"];
    fixture.skycap(&up).await?;
    let patch = Patch::Merge(json!({"data": {"ttl": "5h", "key": "other"}}));
    maps(fixture).patch("end", &PatchParams::default(), &patch).await?;
    let up = [&up[..], &["--ttl", "1h"]].concat();
    let said = fixture.skycap(&[&up[..], &["--dry-run"]].concat()).await?;
    println!("{said}");
    anyhow::ensure!(said.contains("-  ttl: 5h") && said.contains("-  key: other"), "{said}");
    fixture.skycap(&up).await?;
    let data = maps(fixture).get("end").await?.data.unwrap_or_default();
    let foreign = data.contains_key("ttl") || data.contains_key("key");
    anyhow::ensure!(data.contains_key("expires") && !foreign, "{data:?}");
    Ok(())
}

/// Another's text in a fork's field, which `up` would change back.
async fn a_dry_run_prints_no_escapes(fixture: &Fixture) -> anyhow::Result<()> {
    let up = ["up", "end", "-n", "shop", "--fork", "cart", "--no-wait", "--dry-run"];
    let hostile = "a\u{1b}[31m\u{9b}31m\u{202e}b";
    let patch = Patch::Merge(json!({
        "metadata": {"labels": {"skycap.dev/revision": "other"}},
        "spec": {"template": {"spec": {"containers": [{"name": "cart", "image": "x", "args": [hostile]}]}}},
    }));
    let deployments = Api::<Deployment>::namespaced(fixture.cluster.client.clone(), "shop");
    deployments.patch("cart-end", &PatchParams::default(), &patch).await?;
    let said = fixture.skycap(&up).await?;
    println!("{said}");
    anyhow::ensure!(said.contains("31m"), "{said}");
    anyhow::ensure!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said:?}");
    Ok(())
}

fn maps(fixture: &Fixture) -> Api<ConfigMap> {
    Api::namespaced(fixture.cluster.client.clone(), "shop")
}

//! Parts of the control plane fail. After each outage, the table is what the cluster's ConfigMaps say,
//! and meanwhile the last table stays.

mod up;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, names::CONTROLLER};
use skycap_tests::{
    client,
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{sandbox, settings},
        run,
    },
};

/// Runs a test in a cluster where a controller has written `pr-1` to the table.
pub(super) fn with_pr_1(
    test: impl AsyncFnOnce(&mut Fixture, &Controller) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&pr(1)).await?;
        fixture.has_key("pr-1", true, "before the fault").await?;
        fixture.is_settled("before the fault").await?;
        test(fixture, &controller).await
    })
}

pub(super) fn pr(number: usize) -> Value {
    sandbox(&format!("pr-{number}"), json!({"routes": format!("cart: cart-pr-{number}")}))
}

#[test]
fn the_api_server_crashes_under_load() -> anyhow::Result<()> {
    with_pr_1(async |fixture, _| {
        let before = fixture.changes().await?;
        for crash in 0..2 {
            fixture.cluster.kill_apiserver().await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            fixture.cluster.start_apiserver().await?;
            // All at once, so that there is no pause of 50 ms between two of them.
            let burst: Vec<_> = (0..20).map(|n| pr(100 * crash + n)).collect();
            let burst = burst.iter().map(|sandbox| fixture.apply(sandbox));
            futures_util::future::try_join_all(burst).await?;
        }
        fixture.is_settled("after two crashes").await?;
        fixture.has_key("pr-119", true, "the last of the load").await?;
        // A round follows 50 ms without a change, or a second after the first one: so a table holds
        // the changes of a burst, not one each.
        let changes = fixture.changes().await? - before;
        println!("two bursts of 20 sandboxes, each after a crash: {changes} tables");
        anyhow::ensure!(changes <= 8, "{changes} tables for two bursts of 20 sandboxes");
        Ok(())
    })
}

#[test]
fn a_watch_is_too_old() -> anyhow::Result<()> {
    with_pr_1(async |fixture, controller| {
        // The controller stands still while the cluster changes and deletes its old revisions.
        controller.signal("STOP")?;
        fixture.apply(&pr(2)).await?;
        fixture.delete("pr-1").await?;
        fixture.cluster.compact().await?;
        fixture.cluster.kill_apiserver().await?;
        fixture.cluster.start_apiserver().await?;
        fixture.apply(&pr(3)).await?;
        controller.signal("CONT")?;
        fixture.has_key("pr-3", true, "after the pause").await?;
        fixture.has_key("pr-1", false, "deleted during the pause").await?;
        fixture.is_settled("after the pause").await?;
        Ok(())
    })
}

#[test]
fn etcd_stops_for_twenty_seconds() -> anyhow::Result<()> {
    with_pr_1(async |fixture, controller| {
        let before = fixture.changes().await?;
        fixture.cluster.kill_etcd().await?;
        tokio::time::sleep(Duration::from_secs(20)).await;
        fixture.cluster.start_etcd()?;
        let is_unchanged = async |f: &Fixture| Ok(f.changes().await? == before);
        fixture.until("etcd is back, with the same plugin", is_unchanged).await?;
        let is_applied = async |f: &Fixture| Ok(f.apply(&pr(2)).await.is_ok());
        fixture.until("a new sandbox", is_applied).await?;
        fixture.has_key("pr-2", true, "after etcd is back").await?;
        fixture.is_settled("after etcd is back").await?;
        fixture.until("the controller leads again", async |_| controller.leads().await).await?;
        Ok(())
    })
}

/// Once, the watches doubled their delay up to half a minute: a change took effect 58 s after the API
/// server was back, the kill switch too, and the controller called itself ready meanwhile.
#[test]
fn the_api_server_is_away_for_twenty_seconds() -> anyhow::Result<()> {
    with_pr_1(async |fixture, controller| {
        fixture.cluster.kill_apiserver().await?;
        let is_behind = async |_: &Fixture| {
            Ok(controller.metric("skycap_controller_behind").await? > 0.0
                && client::get(controller.address(), "/readyz").await?.contains("unreachable"))
        };
        fixture.until("the controller says that it is behind", is_behind).await?;
        tokio::time::sleep(Duration::from_secs(15)).await;
        fixture.cluster.start_apiserver().await?;
        let begun = Instant::now();
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        let is_off = async |f: &Fixture| Ok(!f.table().await?.enabled);
        fixture.until("the kill switch", is_off).await?;
        let took = begun.elapsed();
        println!("the kill switch, after 20 s without the API server: {} ms", took.as_millis());
        anyhow::ensure!(took < Duration::from_secs(5), "the kill switch took {took:?}");
        let is_ready =
            async |_: &Fixture| Ok(client::get(controller.address(), "/readyz").await? == "ok\n");
        fixture.until("the controller is ready again", is_ready).await?;
        Ok(())
    })
}

#[test]
fn a_permission_is_withdrawn_and_restored() -> anyhow::Result<()> {
    with_pr_1(async |fixture, controller| {
        let before = fixture.changes().await?;
        let position = fixture.cluster.audit_position()?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": CONTROLLER, "namespace": "istio-system"},
        });
        fixture.delete_object(&binding).await?;
        fixture.apply(&pr(2)).await?;
        let is_denied = async |fixture: &Fixture| {
            let denials = fixture.cluster.denials_since(position)?;
            let mut denials = denials.iter();
            Ok(denials.any(|denial| denial.is_of("patch", "wasmplugins", Some("istio-system"))))
        };
        fixture.until("the API server denies the write", is_denied).await?;
        let is_logged = async |_: &Fixture| {
            Ok(controller.metric("skycap_controller_errors_total").await? > 0.0
                && controller.log().contains("is forbidden"))
        };
        fixture.until("the controller counts and logs it", is_logged).await?;
        anyhow::ensure!(fixture.changes().await? == before, "written without the permission");
        fixture.has_key("pr-1", true, "the last table stays").await?;
        fixture.cluster.install().await?;
        fixture.has_key("pr-2", true, "with its permissions again").await?;
        fixture.is_settled("with its permissions again").await?;
        Ok(())
    })
}

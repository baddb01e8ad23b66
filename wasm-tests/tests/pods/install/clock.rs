//! The clocks of the controllers' nodes jump, as when a machine wakes up or its clock is corrected.
//!
//! The node is this machine, whose clock must stay: libfaketime moves the wall clock of the controllers
//! alone, each by its own file. The monotonic clock goes on, as it does on a real node.

use std::fs;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{ConfigMap, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use skycap::names::{CONTROLLER, LEASE, NAMESPACE};
use skycap_tests::{
    cluster::faketime,
    fixture::{Fixture, pods::Load},
    process::process_ids_with,
};

use super::{KEY, PR_1, changes_take_effect, controllers};

/// The leader's clock and that of the other replica jump apart, and then to the other side of each other.
/// The leader stays the leader, changes take effect, and no request is affected.
pub(super) async fn the_clocks_jump(fixture: &Fixture) -> anyhow::Result<()> {
    give_them_clocks(fixture).await?;
    let load = Load::start(fixture, &[KEY]).await?;
    let before = lease(fixture).await?;
    for (event, of_leader, of_other) in
        [("ahead", DAY_AHEAD, HALF_AN_HOUR_BACK), ("back", HALF_AN_HOUR_BACK, DAY_AHEAD)]
    {
        let leader = fixture.leader().await?;
        let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
        for pod in controllers(&pods).await? {
            set_clock(&pod, if pod == leader { of_leader } else { of_other })?;
        }
        changes_take_effect(fixture, &format!("with-its-clock-{event}")).await?;
        is_renewed(fixture, of_leader).await?;
        let after = lease(fixture).await?;
        let (before, after) = (hands(&before), hands(&after));
        ensure!(before == after, "the Lease was held by {before:?}, and now by {after:?}");
        println!("the leader's clock is {event}: it stays the leader");
    }
    load.stop().await?.check("while the clocks jumped", &[PR_1])
}

/// Adds libfaketime to the controllers. The files of their clocks are in a folder of each Pod.
async fn give_them_clocks(fixture: &Fixture) -> anyhow::Result<()> {
    let name = ObjectMeta {
        name: Some("faketime".into()),
        namespace: Some(NAMESPACE.into()),
        ..<_>::default()
    };
    let library = ByteString(fs::read(faketime()?)?);
    let library = [("libfaketime.so".to_owned(), library)].into();
    let library = ConfigMap { metadata: name, binary_data: Some(library), ..<_>::default() };
    fixture.apply(&serde_json::to_value(library)?).await?;
    let pod = json!({
        "volumes": [
            {"name": "faketime", "configMap": {"name": "faketime"}},
            {"name": "clock", "emptyDir": {}},
        ],
        "containers": [{
            "name": "controller",
            "env": [
                {"name": "LD_PRELOAD", "value": "/faketime/libfaketime.so"},
                {"name": "FAKETIME_TIMESTAMP_FILE", "value": "/clock/offset"},
                {"name": "FAKETIME_NO_CACHE", "value": "1"},
                {"name": "FAKETIME_DONT_FAKE_MONOTONIC", "value": "1"},
            ],
            "volumeMounts": [
                {"name": "faketime", "mountPath": "/faketime"},
                {"name": "clock", "mountPath": "/clock"},
            ],
        }],
    });
    let deployments = Api::<Deployment>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": pod}}}));
    deployments.patch(CONTROLLER, &PatchParams::default(), &patch).await?;
    fixture.is_available(NAMESPACE, CONTROLLER).await?;
    let is_led = async |fixture: &Fixture| Ok(!fixture.leader().await?.is_empty());
    fixture.until("a leader", is_led).await?;
    Ok(())
}

/// Moves the clock of a controller this many seconds from the true time.
fn set_clock(pod: &str, offset: i64) -> anyhow::Result<()> {
    let process = process_ids_with(&format!("POD_NAME={pod}"))?.into_iter().next();
    let process = process.with_context(|| format!("`{pod}` has no process"))?;
    Ok(fs::write(format!("/proc/{process}/root/clock/offset"), format!("{offset:+}\n"))?)
}

/// Waits until a leader with this clock has renewed the Lease three times. Meanwhile the other replica looks
/// at it: one that trusts its wall clock takes it.
async fn is_renewed(fixture: &Fixture, offset: i64) -> anyhow::Result<()> {
    for _ in 0..3 {
        let before = lease(fixture).await?.renew_time;
        let is_newer = async |fixture: &Fixture| {
            let renewed = lease(fixture).await?.renew_time;
            let time = renewed.clone().context("the Lease has no time")?.0;
            let found = time.duration_since(Timestamp::now()).as_secs();
            Ok(renewed != before && (found - offset).abs() < TOLERANCE)
        };
        fixture.until("a renewal by a clock that has jumped", is_newer).await?;
    }
    Ok(())
}

async fn lease(fixture: &Fixture) -> anyhow::Result<LeaseSpec> {
    let leases = Api::<Lease>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    leases.get(LEASE).await?.spec.context("the Lease is empty")
}

/// Who holds the Lease, and how often it has changed hands.
fn hands(lease: &LeaseSpec) -> (Option<&str>, Option<i32>) {
    (lease.holder_identity.as_deref(), lease.lease_transitions)
}

/// In seconds.
const DAY_AHEAD: i64 = 86_400;
/// The API server's certificate is valid from an hour before its start.
const HALF_AN_HOUR_BACK: i64 = -1_800;
const TOLERANCE: i64 = 60;

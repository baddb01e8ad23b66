//! The cost of the control plane while one developer has added what costs most.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{SANDBOXES, change_one, create, wait_for};
use crate::cluster::{Cluster, Controller};

/// What one developer can add: groups of 200,000 members that do not exist, a chain of 2,000 keys, and
/// fragments with 60 KB in each field. Returns how long a change of another takes then, and the
/// controller's memory in MB.
pub(super) async fn hostile(
    cluster: &Cluster,
    controller: &Controller,
) -> anyhow::Result<(Duration, u64)> {
    let map = |name: String, kind: &str, data: Value| json!({"metadata": {"name": name, "labels": {"skycap.dev/kind": kind}}, "data": data});
    let group = |n: usize| {
        let members: Vec<_> = (0..64).map(|member| format!("nobody-{n}-{member}")).collect();
        map(format!("group-{n}"), "group", json!({"members": members.join(", ")}))
    };
    let link = |n: usize| {
        let data = json!({"extends": format!("link-{}", n + 1), "routes": "cart: cart-pr-1\n"});
        map(format!("link-{n}"), "sandbox", data)
    };
    let long = |n: usize| {
        let field = ["key", "ttl", "extends", "routes"][n % 4];
        map(format!("long-{n}"), "sandbox", json!({field: "x".repeat(60_000)}))
    };
    let objects = (0..3_125).map(group).chain((0..LINKS).map(link)).chain((0..20).map(long));
    create::<ConfigMap>(cluster, objects).await?;
    let keys = SANDBOXES + LINKS;
    wait_for(cluster, |table| table.keys.len() == keys).await?;
    let mut latencies = Vec::new();
    for number in 0..5 {
        latencies.push(change_one(cluster, number, keys).await?);
    }
    latencies.sort();
    Ok((latencies.get(2).copied().unwrap_or_default(), controller.resident_kib()? / 1024))
}

const LINKS: usize = 2_000;

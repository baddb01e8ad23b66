//! The rules of a queue: what the controller answers to `GET /v1/queues/NAMESPACE/NAME`, and what
//! `skycap-queue` decides by. Section 11 of the contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skycap_core::{carrier::Carrier, key::RoutingKey};

use super::Unread;
use crate::table::availability::OnUnavailable;

/// Which messages of a queue belong to which sandbox.
///
/// A reader ignores fields that it does not know, because the controller is upgraded first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Whether any message goes to a sandbox; false while the kill switch is on.
    pub enabled: bool,
    /// The places in a message that can hold the key, in order. A message has only headers, so only
    /// those of `baggage`, `tracestate` and `header` apply.
    pub carriers: Vec<Carrier>,
    /// The sandbox of each routing key, by the name of its ConfigMap. Groups and `extends` are flattened;
    /// disabled and expired sandboxes are not among them.
    pub keys: BTreeMap<RoutingKey, String>,
    /// The sandboxes that have this queue and exist, by the names of their ConfigMaps. A disabled one
    /// keeps its topic; one that leaves this list has ended.
    pub sandboxes: BTreeMap<String, SandboxRule>,
}

/// What applies to the messages of one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxRule {
    /// Where a message goes while nobody consumes the sandbox's topic: to the baseline, or into the
    /// topic, where it waits.
    pub on_unavailable: OnUnavailable,
    /// What becomes of unread messages when the sandbox ends; `None` for what the queue says. It holds as
    /// it was said last: a sandbox that has ended can say nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

impl Rules {
    /// The sandbox to which messages with this key belong; `None` for the baseline.
    #[must_use]
    pub fn sandbox(&self, key: &RoutingKey) -> Option<&str> {
        let sandbox = self.keys.get(key).filter(|_| self.enabled)?;
        Some(sandbox)
    }
}

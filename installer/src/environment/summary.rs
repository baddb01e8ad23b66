//! The result of `skycap up` for programs: `-o json` prints it, and `skycap ci comment` reads it.
//!
//! Later versions may add fields. A reader ignores those that it does not know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is known about a sandbox at the end of `skycap up`, whether it succeeded or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The name of the sandbox's ConfigMap.
    pub sandbox: String,
    /// Its namespace.
    pub namespace: String,
    /// The key that a request must have to reach the forks.
    pub key: String,
    /// When the sandbox ends by itself; `None` if it has no `ttl` and no `expires`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The value of a `baggage` header with the key, such as `sandbox=pr-9`.
    pub baggage: String,
    /// A curl command that sends a request with the key, for a shell.
    pub curl: String,
    /// The forks, in the order of the plan.
    pub forks: Vec<Fork>,
    /// Which Services the sandbox replaces.
    pub services: Vec<Replacement>,
    /// The queues whose messages with the key the sandbox gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueTopic>,
    /// What the author of the sandbox should know, such as a policy that does not select a fork.
    #[serde(default)]
    pub notes: Vec<String>,
    /// How many sidecars serve the sandbox; `None` if nobody waited for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Why the sandbox is not served, and what to do; `None` if nothing failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One fork.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fork {
    /// The workload that it is a fork of, such as `deployment/cart`.
    pub workload: String,
    /// The name of the fork's own workload.
    pub name: String,
    /// The images of its containers that differ from the baseline, by container.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Whether it is available.
    pub ready: bool,
    /// Why it is not ready, such as `ImagePullBackOff`; `None` if it is, or if no reason is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A Service that requests with the key do not reach, and the one that they reach instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// The baseline's Service.
    pub service: String,
    /// The sandbox's Service.
    pub to: String,
}

/// A queue of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueTopic {
    /// The name of its ConfigMap.
    pub queue: String,
    /// The topic with the messages of the sandbox.
    pub topic: String,
    /// The consumer group that reads it.
    pub group: String,
}

/// How many sidecars have the sandbox in the table that they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// All sidecars that should serve it.
    pub sidecars: usize,
    /// Those that do.
    pub up_to_date: usize,
}

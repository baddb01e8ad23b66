//! The record of a rollout: ConfigMap `skycap-rollout` in namespace `skycap-system`. The command
//! `skycap rollout` writes it, and the controller carries it out.
//!
//! While there is a canary, the workloads that it selects have a second plugin with the new module
//! and the same table, and an EnvoyFilter removes the first plugin from them. So one of the two
//! decides each request, exactly once, and nothing changes for other workloads. `skycap rollout
//! start` watches what the canary's sidecars report ([`verdict`](crate::module::verdict)) and then
//! writes the outcome: the new module serves all workloads, or the canary is removed. If the command
//! is stopped before that, the controller removes the canary at the time in `until`.
//!
//! Two alternatives were rejected. Weights between modules in one Envoy: a plugin has no weight. A
//! second plugin behind the first: each request would be decided twice, and the two plugins would
//! add to the same counters.

use std::{collections::BTreeMap, convert::Infallible};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{data::Data, expiry, origin::Origin};
use crate::{
    names::{KIND_LABEL, NAMESPACE, ROLLOUT},
    objects::object,
    problem::{InvalidField, InvalidValue, Problem, printable},
};

/// Which module serves which workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The module of all workloads without a canary; `None` for the one that skycap was installed
    /// with.
    pub module: Option<String>,
    /// The module on trial.
    pub canary: Option<Canary>,
    /// The outcome of the last trial, as a sentence.
    pub outcome: Option<String>,
}

impl Rollout {
    /// Parses the record.
    ///
    /// # Errors
    /// The problem for which it is rejected. Then each workload keeps the module that it has.
    pub fn parse(map: &ConfigMap, source: Option<&str>) -> Result<Self, Problem> {
        parse(Data::of(map)).map_err(|field| Origin::of(map, source).refusal(field))
    }

    /// The canary, unless its time is over at `now`.
    #[must_use]
    pub fn canary_at(&self, now: Timestamp) -> Option<&Canary> {
        self.canary.as_ref().filter(|canary| now < canary.until)
    }

    /// The ConfigMap with this record.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let Self { module, canary, outcome } = self;
        let mut data = BTreeMap::new();
        data.extend(module.clone().map(|module| ("module", module)));
        data.extend(outcome.clone().map(|outcome| ("outcome", outcome)));
        if let Some(Canary { module, selector, until }) = canary {
            data.insert("canary", module.clone());
            data.insert("selector", selector_text(selector));
            data.insert("until", until.to_string());
        }
        let mut map = object("v1", "ConfigMap", Some(NAMESPACE), ROLLOUT, json!({"data": data}));
        map["metadata"]["labels"][KIND_LABEL] = "rollout".into();
        map
    }
}

/// A module on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The address of the module.
    pub module: String,
    /// The labels of the workloads that it serves.
    pub selector: BTreeMap<String, String>,
    /// When the controller removes the canary, unless it was promoted or removed before.
    pub until: Timestamp,
}

/// Writes labels as [`parse_selector`] reads them: `app=frontend,version=v2`.
#[must_use]
pub fn selector_text(selector: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}

/// Parses labels such as `app=frontend,version=v2`.
///
/// # Errors
/// [`InvalidValue`] with the label that is not of the form `name=value`. Istio's plugins select by
/// equality only. At least one label is required, because a canary without one would serve all
/// workloads.
pub fn parse_selector(text: &str) -> Result<BTreeMap<String, String>, InvalidValue> {
    let label = |label: &str| {
        parse_label(label).ok_or_else(|| {
            InvalidValue::new("label", label, "`name=value`, such as `app=frontend`")
        })
    };
    text.split(',').map(label).collect()
}

fn parse_label(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let has_only = |text: &str, others: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    let is_label = !name.is_empty() && has_only(name, "-_./") && has_only(value, "-_.");
    is_label.then(|| (name.to_owned(), value.to_owned()))
}

/// Parses the URL of a module.
///
/// # Errors
/// [`InvalidValue`] if it is not of a scheme that Istio's agent fetches (istio: pkg/wasm/cache.go).
pub fn parse_module(text: &str) -> Result<String, InvalidValue> {
    let schemes = ["oci://", "https://", "http://", "file://"];
    let is_url = schemes.iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let expected = "a URL such as `oci://registry.example.com/skycap/filter:0.1.0`";
    is_url.then(|| text.to_owned()).ok_or_else(|| InvalidValue::new("module URL", text, expected))
}

fn parse(mut data: Data) -> Result<Rollout, InvalidField> {
    let module = data.take("module", parse_module)?;
    let outcome = data.take("outcome", |text| Ok::<_, Infallible>(printable(text)))?;
    let canary = data.take("canary", parse_module)?;
    let selector = data.take("selector", parse_selector)?;
    let until = data.take("until", expiry::at)?;
    data.close("`module`, `canary`, `selector`, `until`, `outcome`")?;
    let canary = match (canary, selector, until) {
        (None, None, None) => None,
        (Some(module), Some(selector), Some(until)) => Some(Canary { module, selector, until }),
        _ => {
            let text = "expected `canary`, `selector` and `until` together; use `skycap rollout \
                        start`, which writes all three";
            return Err(InvalidField::new("data", text));
        }
    };
    Ok(Rollout { module, canary, outcome })
}

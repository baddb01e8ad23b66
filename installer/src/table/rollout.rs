//! Rolling out a new module: ConfigMap `skycap-rollout` in `skycap-system`, which `skycap rollout`
//! writes and the controller carries out.
//!
//! While there is a canary, the workloads that it selects have a second plugin with the new module
//! and the same table, and an EnvoyFilter takes the first one out of them: each request is decided
//! once, by one of the two, and nothing changes for anybody else. `skycap rollout start` watches
//! what the canary's sidecars report ([`verdict`](crate::module::verdict)) and then writes the outcome: the new module
//! becomes everybody's, or the canary goes. If it is stopped in between the canary goes by itself at
//! the time in `until`, which is the controller's to watch.
//!
//! Decided against: weights between modules in one Envoy (a plugin has no such thing), and a second
//! plugin behind the first (each request would be decided twice, and the counters of both be one).

use crate::names::ROLLOUT;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{data::Data, origin::Origin};
use crate::{
    names::{KIND_LABEL, NAMESPACE},
    objects::object,
    problem::{Fault, Problem, Severity},
};

/// Which module serves whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The module for everybody; `None` is the one that skycap was installed with.
    pub module: Option<String>,
    /// The module that is on trial.
    pub canary: Option<Canary>,
    /// What became of the last one, in words.
    pub outcome: Option<String>,
}

/// A module on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The module.
    pub module: String,
    /// The labels of the workloads that it serves.
    pub selector: BTreeMap<String, String>,
    /// When it ends if nobody decides.
    pub until: Timestamp,
}

impl Rollout {
    /// Whether this ConfigMap is the rollout.
    #[must_use]
    pub fn is(origin: &Origin) -> bool {
        origin.namespace == NAMESPACE && origin.name == ROLLOUT
    }

    /// Parses the ConfigMap.
    ///
    /// # Errors
    /// The problem for which it is refused; then there is no canary, and the module is the one that
    /// skycap was installed with.
    pub fn parse(map: &ConfigMap, source: Option<&str>) -> Result<Self, Problem> {
        parse(Data(map.data.clone().unwrap_or_default())).map_err(|fault| {
            Origin::of(map, source).problem(Severity::Refused, &fault.field, fault.text)
        })
    }

    /// The canary, if its time is not over.
    #[must_use]
    pub fn canary_at(&self, now: Timestamp) -> Option<&Canary> {
        self.canary.as_ref().filter(|canary| now < canary.until)
    }

    /// The ConfigMap.
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

/// Labels as one types them: `app=frontend,version=v2`.
#[must_use]
pub fn selector_text(selector: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}

/// Reads labels as one types them.
///
/// # Errors
/// What is wrong. Istio's plugins select by equal labels only, and by at least one here: with none
/// the canary would be everybody.
pub fn parse_selector(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let is_label = |text: &str, more: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        (!name.is_empty() && is_label(name, "-_./") && is_label(value, "-_."))
            .then(|| (name.to_owned(), value.to_owned()))
    };
    let pairs: Option<BTreeMap<_, _>> = text.split(',').map(pair).collect();
    pairs.ok_or_else(|| format!("`{text}` is no selector, expected labels such as `app=frontend`"))
}

fn parse(mut data: Data) -> Result<Rollout, Fault> {
    let text = |text: &str| Ok::<_, String>(text.to_owned());
    let module = data.take("module", text)?;
    let outcome = data.take("outcome", text)?;
    let canary = data.take("canary", text)?;
    let selector = data.take("selector", parse_selector)?;
    let until = data.take("until", crate::table::expiry::at)?;
    data.close("`module`, `canary`, `selector`, `until`, `outcome`")?;
    let canary = match (canary, selector, until) {
        (None, None, None) => None,
        (Some(module), Some(selector), Some(until)) => Some(Canary { module, selector, until }),
        _ => {
            let text =
                "`canary`, `selector` and `until` belong together; use `skycap rollout start`";
            return Err(Fault { field: "data".into(), text: text.into() });
        }
    };
    Ok(Rollout { module, canary, outcome })
}

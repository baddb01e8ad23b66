//! What the controller publishes: the status ConfigMap, with the table in numbers and the report.

use serde::{Deserialize, Serialize};
use serde_json::json;
use skycap_core::config::PluginConfig;

use crate::{
    names::{NAMESPACE, STATUS},
    objects::{Object, object},
    problem::Severity,
    table::{compile::Compilation, report::Report},
};

/// The table in numbers, as the status ConfigMap holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The generation of the table; empty where there is none.
    pub generation: String,
    /// Whether requests are routed at all: `false` under the kill switch.
    pub enabled: bool,
    /// How Envoy is made to take a target.
    pub dispatch: String,
    /// How many keys there are.
    pub keys: usize,
    /// The bytes of the plugin with the table.
    pub bytes: usize,
    /// How many fragments there are, refused ones too.
    pub fragments: usize,
    /// How many things are refused.
    pub refused: usize,
    /// How many warnings there are.
    pub warnings: usize,
}

impl Summary {
    fn new(compilation: &Compilation, report: &Report, bytes: usize) -> Self {
        let none = PluginConfig::default();
        let config = compilation.config.as_ref().unwrap_or(&none);
        let count = |severity| report.problems.iter().filter(|p| p.severity == severity).count();
        let refused = count(Severity::Refused);
        Self {
            generation: compilation
                .config
                .as_ref()
                .map_or_else(String::new, |c| c.generation.to_string()),
            enabled: compilation.config.is_some() && config.enabled,
            dispatch: config.dispatch.to_string(),
            keys: config.keys.len(),
            bytes,
            fragments: report.fragments.len(),
            refused,
            warnings: count(Severity::Warning),
        }
    }
}

/// The status ConfigMap. One that is too large keeps its problems and counts, and as many fragments
/// as there is room for. It says no time of its own, so that nothing is written when nothing has
/// changed; when it last changed is in its managed fields.
///
/// # Errors
/// As `serde_json`.
pub fn status(compilation: &Compilation, report: &Report, bytes: usize) -> anyhow::Result<Object> {
    let summary = serde_json::to_string(&Summary::new(compilation, report, bytes))?;
    let mut json = serde_json::to_string(report)?;
    if json.len() > STATUS_LIMIT {
        let mut report = report.clone();
        report.truncate(report.fragments.len() * STATUS_LIMIT / json.len() / 2);
        json = serde_json::to_string(&report)?;
    }
    let data = json!({"data": {"summary.json": summary, "report.json": json}});
    Object::new(object("v1", "ConfigMap", Some(NAMESPACE), STATUS, data))
}

/// Bytes of the report in it, of which a ConfigMap takes 1 MiB.
const STATUS_LIMIT: usize = 192 << 10;

//! The status ConfigMap: what the controller publishes, a summary of the table and the report.

use serde::{Deserialize, Serialize};
use serde_json::json;
use skycap_core::{config::PluginConfig, edge::Edge};

use crate::{
    names::{NAMESPACE, STATUS},
    objects::{Object, object},
    problem::Severity,
    table::{compile::Compilation, report::Report},
};

/// The key figures of the table, as the status ConfigMap holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The generation of the table; empty if there is no table.
    pub generation: String,
    /// Whether requests are routed; `false` while the kill switch is on.
    pub enabled: bool,
    /// The dispatch: how Envoy is made to use the target.
    pub dispatch: String,
    /// Which keys from outside have an effect.
    #[serde(default)]
    pub edge: String,
    /// The number of routing keys.
    pub keys: usize,
    /// The size of the plugin with the table in bytes.
    pub bytes: usize,
    /// The number of well-formed fragments.
    pub fragments: usize,
    /// The number of problems with severity `refused`.
    pub refused: usize,
    /// The number of warnings.
    pub warnings: usize,
}

impl Summary {
    fn new(compilation: &Compilation, report: &Report, bytes: usize) -> Self {
        let empty = PluginConfig::default();
        let config = compilation.config.as_ref();
        let generation = config.map_or_else(String::new, |config| config.generation.to_string());
        let enabled = config.is_some_and(|config| config.enabled);
        let config = config.unwrap_or(&empty);
        let count = |severity| report.problems.iter().filter(|p| p.severity == severity).count();
        Self {
            generation,
            enabled,
            dispatch: config.dispatch.to_string(),
            edge: edge(&config.edge),
            keys: config.keys.len(),
            bytes,
            fragments: report.fragments.len(),
            refused: count(Severity::Refused),
            warnings: count(Severity::Warning),
        }
    }
}

/// Which keys from outside have an effect, in words.
fn edge(edge: &Edge) -> String {
    if edge.is_open() {
        return "open: every key from outside has an effect".into();
    }
    let workloads: Vec<_> = edge.workloads.iter().map(ToString::to_string).collect();
    let workloads = workloads.join(" or ");
    if edge.accept.is_empty() {
        return format!("closed ({workloads}): no key from outside has an effect");
    }
    let accepted: Vec<_> = edge.accept.iter().map(ToString::to_string).collect();
    format!("only keys {} from outside have an effect ({workloads})", accepted.join(", "))
}

/// The status ConfigMap.
///
/// A report that is too large is shortened until it fits, and counts what it leaves out
/// ([`Report::shorten`]). The ConfigMap holds no time, so that nothing is written while nothing
/// changes; its `managedFields` show when it last changed.
///
/// # Errors
/// Errors of `serde_json`; no input is known to cause one.
pub fn status(compilation: &Compilation, report: &Report, bytes: usize) -> anyhow::Result<Object> {
    let summary = serde_json::to_string(&Summary::new(compilation, report, bytes))?;
    let json = serde_json::to_string(&report.shorten(REPORT_LIMIT))?;
    let data = json!({"data": {"summary.json": summary, "report.json": json}});
    Object::new(object("v1", "ConfigMap", Some(NAMESPACE), STATUS, data))
}

/// The size to which a report is shortened, in bytes. A ConfigMap may have 1 MiB.
const REPORT_LIMIT: usize = 192 << 10;

//! The answer of `skycap status`: whether requests are routed, by which table, and what is wrong.

use serde::Serialize;

use crate::{controller::announce::Summary, istio::TABLE_LIMIT, problem::Problem, report};

/// What there is to say of an installation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the table in the mesh; `None` where the plugin is not there.
    pub in_mesh: Option<String>,
    /// The plugin's kind and name.
    pub plugin: String,
    /// The replica that writes.
    pub controller: Option<Office>,
    /// The table as it was last compiled.
    pub summary: Summary,
    /// What is refused or warned of.
    pub problems: Vec<Problem>,
}

/// The replica that writes, by the Lease.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Office {
    /// Its name.
    pub holder: String,
    /// When it last said so.
    pub renewed_seconds_ago: i64,
}

impl Status {
    /// Whether nothing is refused, a controller leads, and its table is the mesh's.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.summary.refused == 0 && self.leads() && self.is_current()
    }

    /// The answer for people.
    #[must_use]
    pub fn table(&self) -> String {
        let Summary { enabled, dispatch, keys, bytes, fragments, refused, warnings, .. } =
            &self.summary;
        let routing = if *enabled {
            format!("on, dispatch {dispatch}")
        } else {
            "OFF: every request goes to the baseline".into()
        };
        let limit = TABLE_LIMIT / 1024;
        let size = format!("{keys} keys in {} of {limit} KiB", bytes.div_ceil(1024));
        let mesh = match &self.in_mesh {
            None => format!("MISSING: there is no {}", self.plugin),
            Some(generation) if self.is_current() => format!("{generation}, as compiled"),
            Some(generation) if self.summary.generation.is_empty() => {
                format!("{generation}, the last good one: the settings or the table are refused")
            }
            Some(generation) => {
                format!("{generation}, BEHIND: {} is compiled", self.summary.generation)
            }
        };
        let controller = match &self.controller {
            None => "NONE leads: changes have no effect, routing goes on".to_owned(),
            Some(Office { holder, renewed_seconds_ago }) if self.leads() => {
                format!("{holder} leads, renewed {renewed_seconds_ago} s ago")
            }
            Some(Office { holder, renewed_seconds_ago }) => {
                format!(
                    "GONE: {holder} was last seen {renewed_seconds_ago} s ago; routing goes on, changes have no effect"
                )
            }
        };
        let counts = format!("{fragments}, {refused} refused, {warnings} warnings");
        let rows = [
            ("routing", routing),
            ("table", size),
            ("in the mesh", mesh),
            ("plugin", self.plugin.clone()),
            ("controller", controller),
            ("fragments", counts),
        ];
        let rows = rows.map(|(name, value)| format!("{name:<12} {value}"));
        let problems = report::problems(&self.problems).map(|table| format!("\n\n{table}"));
        rows.join("\n") + &problems.unwrap_or_default()
    }

    fn leads(&self) -> bool {
        self.controller.as_ref().is_some_and(|office| office.renewed_seconds_ago <= TERM)
    }

    fn is_current(&self) -> bool {
        self.in_mesh.as_ref() == Some(&self.summary.generation)
    }
}

/// A Lease that was not renewed for so many seconds is over.
const TERM: i64 = 10;

//! The answer of `skycap status`: whether requests are routed, by which table, and what is wrong.

use serde::Serialize;

use crate::{
    desired::{istio::TABLE_LIMIT, plan::Live, published::Summary},
    observed::{acceptance::Acceptance, sidecars::uptake::Uptake},
    problem::{Problem, Severity},
    table::report,
};

/// What there is to say of an installation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The plugin; `None` where the table is not for Istio.
    pub plugin: Option<Plugin>,
    /// How far Istio's sidecars are; `None` where that is not known.
    pub sidecars: Option<Uptake>,
    /// The HTTPRoutes; `None` where the table is not for a mesh of the Gateway API.
    pub http_routes: Option<TakenRoutes>,
    /// The replica that writes.
    pub controller: Option<Leader>,
    /// The table as it was last compiled.
    pub summary: Summary,
    /// What is refused or warned of.
    pub problems: Vec<Problem>,
}

/// Istio's plugin.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// Its kind and name.
    pub name: String,
    /// The generation of the table in it; `None` where it is not there.
    pub generation: Option<String>,
}

/// skycap's HTTPRoutes, as the meshes' controllers have taken them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenRoutes {
    /// How many are accepted.
    pub accepted: usize,
    /// How many nobody has said anything of.
    pub pending: usize,
    /// Those that are not taken, or not wholly.
    pub refused: Vec<Problem>,
}

impl TakenRoutes {
    /// Counts them.
    #[must_use]
    pub fn of(live: &Live) -> Self {
        let mut taken = Self::default();
        for (reference, object) in live {
            match Acceptance::of(object) {
                Acceptance::Accepted => taken.accepted += 1,
                Acceptance::Pending => taken.pending += 1,
                Acceptance::Refused(text) => taken.refused.push(Problem::of(
                    reference.clone(),
                    Severity::Warning,
                    "status.parents",
                    format!("{text}; see `skycap check`"),
                )),
            }
        }
        taken
    }
}

/// The replica that writes, by the Lease.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    /// Its name.
    pub holder: String,
    /// When it last said so.
    pub renewed_seconds_ago: i64,
}

impl Status {
    /// Whether nothing is refused, a controller leads, and its table is the meshes'.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let taken = self.http_routes.as_ref().is_none_or(|routes| routes.refused.is_empty());
        let served = self.sidecars.as_ref().is_none_or(|uptake| uptake.behind.is_empty());
        self.summary.refused == 0 && self.leads() && self.is_current() && taken && served
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
        let in_mesh = |plugin: &Plugin| match &plugin.generation {
            None => format!("MISSING: there is no {}", plugin.name),
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
            Some(Leader { holder, renewed_seconds_ago }) if self.leads() => {
                format!("{holder} leads, renewed {renewed_seconds_ago} s ago")
            }
            Some(Leader { holder, renewed_seconds_ago }) => {
                format!(
                    "GONE: {holder} was last seen {renewed_seconds_ago} s ago; routing goes on, changes have no effect"
                )
            }
        };
        let counts = format!("{fragments}, {refused} refused, {warnings} warnings");
        let mut rows = vec![("routing", routing), ("table", size)];
        if let Some(plugin) = &self.plugin {
            rows.extend([("in the mesh", in_mesh(plugin)), ("plugin", plugin.name.clone())]);
        }
        let mut problems = self.problems.clone();
        if let Some(uptake) = &self.sidecars {
            rows.push(("sidecars", uptake.told()));
            problems.extend(uptake.problems());
        }
        if let Some(TakenRoutes { accepted, pending, refused }) = &self.http_routes {
            let refusals = refused.len();
            let routes = format!("{accepted} accepted, {pending} pending, {refusals} not taken");
            rows.push(("HTTPRoutes", routes));
            problems.extend(refused.iter().cloned());
        }
        rows.extend([("controller", controller), ("fragments", counts)]);
        let rows: Vec<_> =
            rows.into_iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
        let problems = report::problems(&problems).map(|table| format!("\n\n{table}"));
        rows.join("\n") + &problems.unwrap_or_default()
    }

    fn leads(&self) -> bool {
        self.controller.as_ref().is_some_and(|leader| leader.renewed_seconds_ago <= TERM)
    }

    fn is_current(&self) -> bool {
        let is_compiled =
            |plugin: &Plugin| plugin.generation.as_ref() == Some(&self.summary.generation);
        self.plugin.as_ref().is_none_or(is_compiled)
    }
}

/// A Lease that was not renewed for so many seconds is over.
const TERM: i64 = 10;

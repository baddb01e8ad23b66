//! The answer of `skycap status`: whether requests are routed, which table is in use, and what is
//! wrong.

use serde::Serialize;

use crate::{
    desired::{istio::TABLE_LIMIT, plan::Live, published::Summary},
    observed::{acceptance::Acceptance, readiness::Readiness, sidecars::uptake::Uptake},
    problem::{Problem, Severity},
    table::report,
};

/// The state of an installation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The plugin; `None` where the table is not for Istio.
    pub plugin: Option<Plugin>,
    /// How many of Istio's sidecars are up to date; `None` where this is not known.
    pub sidecars: Option<Uptake>,
    /// The HTTPRoutes; `None` where the table is not for a mesh of the Gateway API.
    pub http_routes: Option<RouteCounts>,
    /// The leader of the controller's replicas.
    pub controller: Option<Leader>,
    /// The last compiled table in numbers.
    pub summary: Summary,
    /// Refusals and warnings.
    pub problems: Vec<Problem>,
}

/// Istio's plugin.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// Its kind, namespace and name.
    pub name: String,
    /// Whether it is in the cluster.
    pub exists: bool,
    /// The generation of its table; `None` if it has no table with one.
    pub generation: Option<String>,
}

/// skycap's HTTPRoutes, counted by what the meshes' controllers report of them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteCounts {
    /// Routes that are accepted.
    pub accepted: usize,
    /// Routes that no controller has reported on yet.
    pub pending: usize,
    /// Routes that are rejected in whole or in part, each with the reason.
    pub refused: Vec<Problem>,
}

impl RouteCounts {
    /// Counts the routes by their status.
    #[must_use]
    pub fn of(live: &Live) -> Self {
        let mut counts = Self::default();
        for (reference, object) in live {
            match Acceptance::of(object) {
                Acceptance::Accepted => counts.accepted += 1,
                Acceptance::Pending => counts.pending += 1,
                Acceptance::Rejected(rejection) => counts.refused.push(Problem::of(
                    reference.clone(),
                    Severity::Warning,
                    "status.parents",
                    format!("{rejection}; see `skycap check -A`"),
                )),
            }
        }
        counts
    }

    fn text(&self) -> String {
        let Self { accepted, pending, refused } = self;
        format!("{accepted} accepted, {pending} pending, {} rejected", refused.len())
    }
}

/// The replica of the controller that writes, by the Lease.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    /// The name of its Pod.
    pub holder: String,
    /// Seconds since it last renewed the Lease; `None` if it does not renew it any more.
    pub renewed_seconds_ago: Option<u64>,
    /// Whether it sees all changes of the cluster.
    pub readiness: Readiness,
}

impl Leader {
    fn is_well(&self) -> bool {
        self.renewed_seconds_ago.is_some() && !matches!(self.readiness, Readiness::Behind(_))
    }

    fn state(&self) -> String {
        let Self { holder, renewed_seconds_ago, readiness } = self;
        if let Some(ago) = renewed_seconds_ago {
            let watches = match readiness {
                Readiness::Ready => ", its watches work".to_owned(),
                Readiness::Behind(seconds) => format!(
                    "; BEHIND: its watches have failed for {seconds} s, so changes since then have no \
                     effect"
                ),
                Readiness::Unknown(_) => String::new(),
            };
            format!("{holder} is the leader (renewed {ago} s ago){watches}")
        } else {
            format!(
                "GONE: the leader {holder} does not renew its Lease; routing continues, but changes \
                 have no effect"
            )
        }
    }
}

impl Status {
    /// Whether nothing is refused, the controller has a leader, and the meshes have its table.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let accepted = self.http_routes.as_ref().is_none_or(|routes| routes.refused.is_empty());
        let served = self.sidecars.as_ref().is_none_or(|uptake| uptake.behind.is_empty());
        let is_led = self.controller.as_ref().is_some_and(Leader::is_well);
        self.summary.refused == 0 && is_led && self.is_current() && accepted && served
    }

    /// The answer for people: a line per part, and a table of the problems.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = self.rows();
        let rows: Vec<_> =
            rows.into_iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
        let problems = report::problems(&self.all_problems()).map(|table| format!("\n\n{table}"));
        rows.join("\n") + &problems.unwrap_or_default()
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Summary { keys, bytes, fragments, refused, warnings, .. } = self.summary;
        let (kib, limit) = (bytes.div_ceil(1024), TABLE_LIMIT / 1024);
        let plural = if keys == 1 { "" } else { "s" };
        let mut rows = vec![
            ("routing", self.routing()),
            ("table", format!("{keys} key{plural}, {kib} of {limit} KiB used")),
        ];
        if self.is_rejected() {
            rows.truncate(1);
        }
        if let Some(plugin) = &self.plugin {
            if !self.is_rejected() {
                rows.push(("edge", self.summary.edge.clone()));
            }
            rows.push(("in the mesh", self.in_the_mesh(plugin)));
            rows.push(("plugin", plugin.name.clone()));
        }
        rows.extend(self.sidecars.as_ref().map(|uptake| ("sidecars", uptake.summary())));
        rows.extend(self.http_routes.as_ref().map(|routes| ("HTTPRoutes", routes.text())));
        let leaderless = "NO LEADER: routing continues, but changes have no effect";
        let controller = self.controller.as_ref();
        rows.push(("controller", controller.map_or_else(|| leaderless.into(), Leader::state)));
        let plural = if warnings == 1 { "" } else { "s" };
        rows.push((
            "fragments",
            format!("{fragments} valid, {refused} refused, {warnings} warning{plural}"),
        ));
        rows
    }

    /// Whether the last compile made no table. The last valid table stays in the mesh.
    fn is_rejected(&self) -> bool {
        self.summary.generation.is_empty()
    }

    fn routing(&self) -> String {
        if self.is_rejected() {
            "UNCHANGED: the settings or the table are refused, so the last valid ones still apply"
                .into()
        } else if self.summary.enabled {
            format!("on (dispatch {})", self.summary.dispatch)
        } else {
            "OFF: every request goes to the baseline".into()
        }
    }

    fn in_the_mesh(&self, plugin: &Plugin) -> String {
        let compiled = &self.summary.generation;
        match &plugin.generation {
            None if !plugin.exists => format!("MISSING: there is no {}", plugin.name),
            None => "MISSING: the plugin has no table of skycap".into(),
            Some(generation) if generation == compiled => format!("{generation} (up to date)"),
            Some(generation) if compiled.is_empty() => {
                format!("{generation} (the last valid one: the settings or the table are refused)")
            }
            Some(generation) => format!("{generation}, OUT OF DATE: {compiled} is compiled"),
        }
    }

    fn all_problems(&self) -> Vec<Problem> {
        let sidecars = self.sidecars.as_ref().map(Uptake::problems).unwrap_or_default();
        let routes = self.http_routes.iter().flat_map(|routes| routes.refused.iter().cloned());
        self.problems.iter().cloned().chain(sidecars).chain(routes).collect()
    }

    fn is_current(&self) -> bool {
        let is_compiled =
            |plugin: &Plugin| plugin.generation.as_ref() == Some(&self.summary.generation);
        self.plugin.as_ref().is_none_or(is_compiled)
    }
}

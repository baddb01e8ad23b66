//! The compile: fragments, settings and the state of the cluster become a table and a report.
//!
//! The table is a function of its input and the time alone, whatever the order of the input.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use skycap_core::config::{PluginConfig, ServiceName};

use super::{
    claims::Claims,
    cluster::{Cluster, Name},
    edge, expiry,
    fragments::{Content, Fragment},
    input::Input,
    limits::{FRAGMENT_MEMBERS, TABLE_BYTES},
    matching,
    policies::service_of,
    queue::{rules::Rules, usable::UsableQueues},
    report::{FragmentReport, FragmentState, Report},
    rollout::Rollout,
    rows::Rows,
    settings::Settings,
};
use crate::{objects::ObjectRef, problem::Severity};

/// The result of a compile.
#[derive(Debug, Clone)]
pub struct Compilation {
    /// The table; `None` if the settings are rejected, and then the current table must stay.
    pub config: Option<PluginConfig>,
    /// The rules of each queue, by namespace and name; `None` as for the table.
    pub queues: Option<BTreeMap<Name, Rules>>,
    /// The report on every fragment.
    pub report: Report,
    /// Which module serves which workloads now; `None` if the record is rejected, and then what serves
    /// now must stay.
    pub rollout: Option<Rollout>,
    /// When the next fragment or canary expires, and the result may change.
    pub valid_until: Option<Timestamp>,
    /// The fragments that ended so long ago that they are to be deleted.
    pub overdue: Vec<Overdue>,
}

/// A fragment that ended so long ago that it is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// Its ConfigMap.
    pub reference: ObjectRef,
    /// How long after its end it is deleted: `deleteExpired` in the settings.
    pub grace: SignedDuration,
}

/// Compiles. This cannot fail: what cannot be used is a problem in the report.
#[must_use]
pub fn compile(input: &Input, now: Timestamp) -> Compilation {
    let parsed = input.fragments();
    let has_settings = input.settings().is_some();
    let settings = guarded(input);
    let mut states: Vec<_> =
        parsed.iter().map(|fragment| state(fragment, &settings, &input.cluster, now)).collect();
    let matched = matching::resolve(&parsed, &states);
    let resolved = |(index, own)| matched.groups.get(&index).unwrap_or(own);
    let fragments: Vec<_> = parsed.iter().copied().enumerate().map(resolved).collect();
    let queues = UsableQueues::of(input);
    let (config, rules, mut claims) = loop {
        let mut claims = Claims::new(&settings, &input.cluster, &queues, &fragments, &states);
        if !settings.config.enabled {
            // The kill switch takes effect whatever the fragments contain.
            let rules = queues.rules(&settings, &fragments, &states, None);
            break (settings.config.clone().stamped(), rules, claims);
        }
        let rows = Rows::new(&mut claims);
        let evictions = rows.evictions(&fragments, &settings.config);
        if evictions.is_empty() {
            let rules = queues.rules(&settings, &fragments, &states, Some(&rows));
            break (rows.into_config(&settings.config), rules, claims);
        }
        for index in evictions {
            states[index] = FragmentState::Evicted;
        }
    };
    refuse_evicted(&states, &mut claims);
    warn_of_cut(&matched.cut, &states, &mut claims);
    let mut problems = input.problems();
    problems.extend(claims.findings.into_problems());
    problems.extend(queues.problems.iter().cloned());
    let reports = fragments.iter().zip(states).zip(claims.routes);
    let report = Report::new(
        reports.map(|((fragment, state), routes)| FragmentReport::new(fragment, state, routes)),
        problems,
        has_settings,
        has_settings && !settings.config.enabled,
    );
    let rollout = rollout(input, now);
    let canary = rollout.as_ref().and_then(|rollout| Some(rollout.canary.as_ref()?.until));
    let (overdue, deletions) = overdue(&fragments, &settings, input, now);
    let expiries = fragments.iter().filter_map(|fragment| fragment.expires);
    let expiries = expiries.chain(canary).chain(deletions);
    Compilation {
        config: has_settings.then_some(config),
        queues: has_settings.then_some(rules),
        report,
        rollout,
        valid_until: expiries.filter(|expires| *expires > now).min(),
        overdue,
    }
}

/// Which module serves which workloads at this time.
fn rollout(input: &Input, now: Timestamp) -> Option<Rollout> {
    input.rollout().map(|mut rollout| {
        rollout.canary = rollout.canary_at(now).cloned();
        rollout
    })
}

/// The fragments that are to be deleted now, and when the next one is.
fn overdue(
    fragments: &[&Fragment],
    settings: &Settings,
    input: &Input,
    now: Timestamp,
) -> (Vec<Overdue>, Option<Timestamp>) {
    let Some(grace) = settings.delete_expired.filter(|_| input.settings().is_some()) else {
        return (Vec::new(), None);
    };
    let (mut overdue, mut next) = (Vec::new(), None);
    for Fragment { origin, expires, .. } in fragments.iter().copied() {
        // What does not take part is none of skycap's business, and nothing is deleted twice.
        if origin.is_terminating || !input.cluster.selects(&settings.namespaces, &origin.namespace)
        {
            continue;
        }
        match expiry::deletion(*expires, grace) {
            Some(time) if time <= now => {
                let reference = ObjectRef::config_map(&origin.namespace, &origin.name);
                overdue.push(Overdue { reference, grace });
            }
            Some(time) => next = Some(next.map_or(time, |next: Timestamp| next.min(time))),
            None => {}
        }
    }
    (overdue, next)
}

/// The settings, with the Services that keep the gateways' own routes.
fn guarded(input: &Input) -> Settings {
    let mut settings = input.settings().cloned().unwrap_or_default();
    let config = &mut settings.config;
    if !settings.edge_bypass && !config.edge.is_open() {
        config.edge.guard = edge::guard(guards(input, config.cluster_domain.as_str()));
    }
    settings
}

/// The Services that a fragment replaces and to which a gateway's route with a policy leads: by their
/// own names, or by that of an ExternalName, for which Istio takes the Service behind it.
fn guards(input: &Input, domain: &str) -> BTreeSet<ServiceName> {
    let guarded = input.policies.guarded(domain);
    let alias = |service: &ServiceName| {
        let facts = input.cluster.service(service.namespace(), service.name())?;
        service_of(facts.external_name.as_ref()?, service.namespace(), domain)
    };
    let aliased: Vec<_> = guarded.iter().filter_map(alias).collect();
    let guarded: BTreeSet<_> = guarded.into_iter().chain(aliased).collect();
    // Others would only take room: whoever writes routes of gateways names any Service.
    let replaced = input.fragments().into_iter().flat_map(|fragment| {
        let routes = match &fragment.content {
            Content::Sandbox { routes, .. } => routes.as_slice(),
            Content::Group { .. } => &[],
        };
        routes.iter().map(|route| (route.service.as_str(), fragment.origin.namespace.as_str()))
    });
    let replaced: HashSet<_> = replaced.collect();
    let is_replaced =
        |service: &ServiceName| replaced.contains(&(service.name(), service.namespace()));
    guarded.into_iter().filter(is_replaced).collect()
}

fn state(
    fragment: &Fragment,
    settings: &Settings,
    cluster: &Cluster,
    now: Timestamp,
) -> FragmentState {
    if !cluster.selects(&settings.namespaces, &fragment.origin.namespace) {
        FragmentState::Unselected
    } else if !fragment.enabled {
        FragmentState::Disabled
    } else if fragment.expires.is_some_and(|expires| expires <= now) {
        FragmentState::Expired
    } else {
        FragmentState::Active
    }
}

/// Refuses the fragments that are left out for lack of room.
fn refuse_evicted(states: &[FragmentState], claims: &mut Claims<'_>) {
    let evicted = claims.fragments.iter().zip(states);
    for (fragment, _) in evicted.filter(|(_, state)| **state == FragmentState::Evicted) {
        claims.findings.add(Severity::Refused, fragment, "", || {
            format!(
                "the table has no room for this ConfigMap: at most {TABLE_BYTES} bytes fit, and \
                 namespace `{}` uses the most of them; delete older sandboxes of this namespace, or \
                 name their Services by the routing key (`cart-{}`), which takes less room",
                fragment.origin.namespace, fragment.key,
            )
        });
    }
}

/// Warns about the groups that select more sandboxes than they join.
fn warn_of_cut(cut: &[usize], states: &[FragmentState], claims: &mut Claims<'_>) {
    let active = cut.iter().filter(|index| states.get(**index) == Some(&FragmentState::Active));
    for fragment in active.filter_map(|index| claims.fragments.get(*index)) {
        claims.findings.add(Severity::Warning, fragment, "data.match", || {
            format!(
                "selects more sandboxes than a group may join: only the oldest have an effect, with \
                 the members at most {FRAGMENT_MEMBERS}; ask for more labels"
            )
        });
    }
}

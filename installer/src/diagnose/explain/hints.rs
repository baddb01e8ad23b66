//! What to do, where the outcome is probably not the expected one.

use skycap_core::{config::Source, decision::Decision, reason::Reason};

use crate::{
    problem::Severity,
    table::report::{FragmentReport, FragmentState, Report},
};

/// The hints for a decision; none where the request goes to its sandbox.
pub(super) fn hints(decision: &Decision<'_>, report: &Report) -> Vec<String> {
    let key = decision.key.as_ref().map(|(key, _)| key.as_str()).unwrap_or_default();
    match decision.reason {
        Reason::Disabled => vec!["enable routing with `skycap enable --all`".into()],
        Reason::NoKey => vec![no_key(decision)],
        Reason::UnknownKey => unknown_key(key, report),
        Reason::NotReplaced => {
            let is_of_key = |fragment: &&FragmentReport| fragment.key == key;
            let fragments: Vec<_> = report.fragments.iter().filter(is_of_key).collect();
            let problems = report.problems.iter();
            problems
                .filter(|problem| fragments.iter().any(|fragment| fragment.has(problem)))
                .map(ToString::to_string)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn no_key(decision: &Decision<'_>) -> String {
    if decision.drops.contains(Reason::NotAccepted) {
        return "the edge accepts keys from outside that `edge` in the settings lists: `accept: listed` \
                and `listed: [KEY]`"
            .into();
    }
    let carriers = decision.table().carriers();
    let first = carriers.first().map(|carrier| &carrier.source);
    let label = first.map(Source::label).unwrap_or_default();
    match first {
        Some(Source::Baggage(name)) => {
            format!("send the key in {label}: pass `-H 'baggage: {name}=KEY'`")
        }
        _ => format!("send the key in {label}"),
    }
}

pub(in crate::diagnose) fn unknown_key(key: &str, report: &Report) -> Vec<String> {
    let of_key = report.fragments.iter().filter(|fragment| fragment.key == key);
    let inactive = of_key.filter_map(inactive);
    let refused = report.problems.iter().filter(|problem| {
        problem.severity == Severity::Refused
            && problem.object.as_ref().is_some_and(|object| object.name == key)
    });
    let is_alike =
        |other: &&FragmentReport| other.key.eq_ignore_ascii_case(key) && other.key != key;
    let alike = report.fragments.iter().find(is_alike);
    let alike =
        alike.map(|other| format!("keys are case-sensitive, and there is a key `{}`", other.key));
    let mut hints: Vec<_> = inactive.chain(refused.map(ToString::to_string)).chain(alike).collect();
    if hints.is_empty() {
        hints.push("list the known keys with `skycap list -A`".into());
    }
    hints
}

/// Why a fragment that has the key does not route.
fn inactive(fragment: &FragmentReport) -> Option<String> {
    let FragmentReport { namespace, name, .. } = fragment;
    let why = match fragment.state {
        FragmentState::Active => return None,
        FragmentState::Disabled => {
            format!("is disabled; enable it with `skycap enable {name} -n {namespace}`")
        }
        FragmentState::Expired => "has expired; extend its `ttl` or `expires`".into(),
        FragmentState::Unselected => {
            "is in a namespace that `namespaces` in the settings does not select".into()
        }
        FragmentState::Evicted => "is left out, because the table has no room for it".into(),
    };
    Some(format!("{} has this key, but {why}", fragment.id()))
}

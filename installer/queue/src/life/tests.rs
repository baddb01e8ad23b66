use std::{collections::BTreeMap, time::Duration};

use skycap::table::{
    availability::OnUnavailable,
    queue::{
        Unread,
        rules::{Rules, SandboxRule},
    },
};

use super::{Conflict, DRAIN, Observation, Record, Seen, Step};

fn rules(names: &[&str], on_unavailable: OnUnavailable) -> Rules {
    Rules {
        enabled: true,
        keys: names.iter().map(|name| (name.parse().unwrap(), (*name).to_owned())).collect(),
        sandboxes: names
            .iter()
            .map(|name| ((*name).to_owned(), SandboxRule { on_unavailable, unread: None }))
            .collect(),
        ..Rules::default()
    }
}

fn observation(seen: Option<Seen>) -> Observation {
    let topics = seen.map(|seen| BTreeMap::from([("a".to_owned(), seen)])).unwrap_or_default();
    Observation { partitions: 3, topics }
}

fn is_routed(observation: &Observation, rules: &Rules) -> bool {
    let table = observation.table(rules, |name| format!("orders.{name}"));
    table != observation.table(&Rules::default(), |name| format!("orders.{name}"))
}

#[test]
fn a_topic_is_made_then_prepared_and_then_gets_messages() {
    let rules = rules(&["a"], OnUnavailable::Fail);
    let mut seen = Seen { partitions: 3, ..Seen::default() };
    for (observation, steps, routed) in [
        (observation(None), vec![Step::Create("a".into())], false),
        (observation(Some(seen)), vec![Step::Prepare("a".into())], false),
        (
            {
                seen.record = Some(Record::Prepared(Unread::Report));
                observation(Some(seen))
            },
            vec![],
            true,
        ),
    ] {
        assert_eq!(observation.steps(&rules, Unread::Report), steps);
        assert_eq!(is_routed(&observation, &rules), routed);
    }
}

#[test]
fn without_a_reader_messages_go_to_the_baseline_unless_they_are_to_wait() {
    let seen = |has_members| {
        let record = Some(Record::Prepared(Unread::Report));
        observation(Some(Seen { partitions: 3, record, has_members, ..Seen::default() }))
    };
    let baseline = rules(&["a"], OnUnavailable::Baseline);
    assert!(!is_routed(&seen(false), &baseline));
    assert!(is_routed(&seen(true), &baseline));
    assert!(is_routed(&seen(false), &rules(&["a"], OnUnavailable::Fail)));
    assert!(!is_routed(&seen(true), &Rules { enabled: false, ..baseline }));
}

#[test]
fn an_ended_sandbox_drains_then_is_sealed_and_only_then_deleted() {
    let prepared =
        Seen { partitions: 3, record: Some(Record::Prepared(Unread::Report)), ..Seen::default() };
    let ended = |has_unread, has_members, seconds| {
        let ended = Some(Duration::from_secs(seconds));
        observation(Some(Seen { has_unread, has_members, ended, ..prepared }))
            .steps(&Rules::default(), Unread::Report)
    };
    let seal = vec![Step::Seal("a".into(), Unread::Report)];
    assert_eq!(ended(true, true, 1), vec![]);
    assert_eq!(ended(false, true, 1), seal);
    assert_eq!(ended(true, false, 1), seal);
    assert_eq!(ended(true, true, DRAIN.as_secs()), seal);
    let ending =
        observation(Some(Seen { record: Some(Record::Ending(Unread::Report)), ..prepared }));
    let wanted = rules(&["a"], OnUnavailable::Fail);
    for rules in [Rules::default(), wanted.clone()] {
        assert_eq!(ending.steps(&rules, Unread::Report), [Step::End("a".into(), Unread::Report)]);
    }
    assert!(!is_routed(&ending, &wanted));
}

#[test]
fn a_topic_of_somebody_else_is_never_touched() {
    let used = Seen { partitions: 3, is_used: true, ..Seen::default() };
    let wanted = rules(&["a"], OnUnavailable::Fail);
    let foreign = observation(Some(used));
    assert_eq!(foreign.steps(&wanted, Unread::Report), []);
    assert_eq!(foreign.steps(&Rules::default(), Unread::Report), []);
    assert_eq!(foreign.conflicts(&wanted), [Conflict::Foreign("a".into())]);
    assert!(!is_routed(&foreign, &wanted));
    let ended = Some(DRAIN);
    let unrecorded = observation(Some(Seen { partitions: 3, ended, ..Seen::default() }));
    assert_eq!(unrecorded.steps(&Rules::default(), Unread::Report), []);
    let narrow = observation(Some(Seen { partitions: 2, ..Seen::default() }));
    assert_eq!(narrow.conflicts(&wanted), [Conflict::Partitions("a".into(), 2, 3)]);
    assert_eq!(narrow.steps(&wanted, Unread::Report), []);
}

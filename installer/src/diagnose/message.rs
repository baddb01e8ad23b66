//! Why a message of a queue goes where it goes: by the parser of the core and the rules of the controller,
//! as `skycap-queue` decides it.

use serde::Serialize;
use skycap_core::carrier::find_in_message;

use super::explain::{DecisionStep, unknown_key};
use crate::table::{
    availability::OnUnavailable,
    queue::{Queue, rules::Rules},
    report::{FragmentState, Report},
};

/// Where a message goes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageExplanation {
    /// Whether the message goes to a sandbox.
    pub routed: bool,
    /// The topic that it comes from.
    pub topic: String,
    /// The topic that it goes to.
    pub goes_to: String,
    /// The steps of the decision, in order.
    pub steps: Vec<DecisionStep>,
    /// What to do if another outcome was expected.
    pub hints: Vec<String>,
}

/// Explains where a message with these headers goes. `report` is of the same compile as the rules.
#[must_use]
pub fn explain_message(
    queue: &Queue,
    rules: &Rules,
    report: &Report,
    headers: &[(String, Vec<u8>)],
) -> MessageExplanation {
    let key = find_in_message(&rules.carriers, |name| {
        let lines = headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
        (!lines.is_empty()).then(|| lines.join(&b","[..]).into())
    });
    let sandbox = key.as_ref().and_then(|key| rules.sandbox(key));
    let config = &queue.config;
    let goes_to = sandbox.map_or_else(|| config.baseline_topic(), |name| config.topic_of(name));
    let step = |step, what: String| DecisionStep { step, what };
    let mut steps = vec![step("rules", rules_text(rules)), step("carriers", carriers_text(rules))];
    steps.extend(key.map(|key| step("key", format!("`{key}`"))));
    steps.extend(sandbox.map(|name| {
        let group = config.group_of(name);
        step("sandbox", format!("{}/{name}, whose group is {group}", queue.origin.namespace))
    }));
    let rule = sandbox.and_then(|name| rules.sandboxes.get(name));
    let outcome = match (rule.map(|rule| rule.on_unavailable), key) {
        (Some(OnUnavailable::Baseline), _) => {
            "the message is the sandbox's; while its group has no member, it goes to the baseline"
        }
        (Some(OnUnavailable::Fail), _) => {
            "the message is the sandbox's; while its group has no member, it waits in its topic"
        }
        (None, _) if !rules.enabled => {
            "the kill switch is on, so every message goes to the baseline"
        }
        (None, Some(_)) => "no enabled sandbox has this queue for this key",
        (None, None) => "the message has no key",
    };
    steps.push(step("outcome", outcome.into()));
    let hints = match key.filter(|_| sandbox.is_none()) {
        _ if !rules.enabled => vec!["enable routing with `skycap enable --all`".into()],
        Some(key) => without_sandbox(key.as_str(), &queue.origin.name, report),
        None => Vec::new(),
    };
    let topic = config.topic.clone();
    MessageExplanation { routed: sandbox.is_some(), topic, goes_to, steps, hints }
}

impl MessageExplanation {
    /// The explanation for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}  -->  {}\n", self.topic, self.goes_to);
        for DecisionStep { step, what } in &self.steps {
            text.push_str(&format!("\n  {step:<12} {what}"));
        }
        for hint in &self.hints {
            text.push_str(&format!("\n\nhint: {hint}"));
        }
        text
    }
}

fn rules_text(rules: &Rules) -> String {
    let count = |count: usize, one: &str, several: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    };
    let keys = count(rules.keys.len(), "key", "keys");
    format!("{keys}, {} with this queue", count(rules.sandboxes.len(), "sandbox", "sandboxes"))
}

fn carriers_text(rules: &Rules) -> String {
    let carriers = rules.carriers.iter().filter(|carrier| carrier.source.is_in_messages());
    let labels: Vec<_> = carriers.map(|carrier| carrier.source.label()).collect();
    if labels.is_empty() {
        return "none of the settings' carriers is a header of a message".into();
    }
    format!("tried in this order: {}", labels.join(", "))
}

/// What to do where a key has no sandbox with the queue.
fn without_sandbox(key: &str, queue: &str, report: &Report) -> Vec<String> {
    let of_key: Vec<_> = report.fragments.iter().filter(|one| one.key == key).collect();
    if of_key.iter().any(|fragment| fragment.state == FragmentState::Active) {
        let problems = report.problems.iter();
        let own = problems.filter(|problem| of_key.iter().any(|fragment| fragment.has(problem)));
        let mut hints: Vec<_> = own.map(ToString::to_string).collect();
        if hints.is_empty() {
            hints.push(format!("add `{queue}` to `queues` of the sandbox"));
        }
        return hints;
    }
    unknown_key(key, report)
}

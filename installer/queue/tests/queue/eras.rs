//! The rules of a run, and between which messages each of them can have held.

use std::collections::BTreeMap;

use skycap::table::{
    availability::OnUnavailable,
    queue::rules::{Rules, SandboxRule},
};

use crate::{chaos::Random, checker::Seen};

/// The sandboxes.
pub(crate) const SANDBOXES: [&str; 3] = ["pr-1", "pr-2", "pr-3"];
/// The keys of the load. The last one never has a sandbox.
pub(crate) const KEYS: [&str; 4] = ["key-1", "key-2", "key-3", "unknown"];

/// The rules of a version, and between which messages they can have held.
pub(crate) struct Era {
    pub(crate) rules: Rules,
    /// Of each partition, the first message that was not moved when the rules were published.
    pub(crate) from: BTreeMap<i32, i64>,
    /// Of each partition, the end when no splitter held older rules than the next ones any more.
    pub(crate) until: Option<BTreeMap<i32, i64>>,
}

impl Era {
    /// Whether these rules can have decided where the message goes.
    pub(crate) fn may_decide(&self, message: &Seen) -> bool {
        let from = self.from.get(&message.partition).copied().unwrap_or(0);
        let until = self.until.as_ref().map(|until| until[&message.partition]);
        message.offset >= from && until.is_none_or(|until| message.offset < until)
    }

    /// The topic by the rules, computed from the key that the producer has written.
    pub(crate) fn topic(&self, message: &Seen) -> String {
        let headers = &message.content.headers;
        let baggage = headers.iter().find(|(name, _)| name == "baggage");
        let value = baggage.and_then(|(_, value)| String::from_utf8(value.clone()?).ok());
        let key = value.as_deref().and_then(|text| text.strip_prefix("user=1,sandbox="));
        let sandbox = key
            .filter(|_| self.rules.enabled)
            .and_then(|key| self.rules.keys.iter().find(|(known, _)| known.as_str() == key))
            .map(|(_, sandbox)| sandbox.as_str());
        format!("orders.{}", sandbox.unwrap_or("baseline"))
    }
}

/// Each key has a sandbox or none; sometimes the kill switch is on.
pub(crate) fn random_rules(random: &mut Random) -> Rules {
    let mut keys = BTreeMap::new();
    for key in KEYS.iter().take(3) {
        let choice = usize::try_from(random.below(4)).unwrap();
        if let Some(sandbox) = SANDBOXES.get(choice) {
            keys.insert(key.parse().unwrap(), (*sandbox).to_owned());
        }
    }
    let rule = SandboxRule { on_unavailable: OnUnavailable::Fail, unread: None };
    Rules {
        enabled: random.below(8) > 0,
        carriers: vec![skycap_core::carrier::Carrier::default()],
        keys,
        sandboxes: SANDBOXES.map(|name| (name.to_owned(), rule)).into(),
    }
}

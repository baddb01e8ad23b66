//! The rules that are served.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{body::Bytes, header::HeaderValue};
use ring::digest::{SHA256, digest};
use tokio::sync::watch;

use super::{Answer, Asked};
use crate::table::{cluster::Name, queue::rules::Rules};

/// The rules of each queue; none before the first round.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Published(Option<BTreeMap<Name, Arc<Entry>>>);

/// The rules of a queue, as they were made and as they are served.
#[derive(Debug)]
struct Entry {
    rules: Rules,
    json: Bytes,
    /// A digest of the JSON, so that all replicas have the same one.
    tag: HeaderValue,
}

impl Published {
    /// Publishes rules, and wakes up whoever waits if they differ.
    pub(in crate::controller) fn replace(
        sender: &watch::Sender<Self>,
        rules: BTreeMap<Name, Rules>,
    ) {
        sender.send_if_modified(|published| {
            let mut old = published.0.take();
            let is_first = old.is_none();
            let before = old.as_ref().map_or(0, BTreeMap::len);
            let mut kept = 0;
            let entries = rules.into_iter().filter_map(|(name, rules)| {
                let old = old.as_mut().and_then(|old| old.remove(&name));
                let entry = match old.filter(|old| old.rules == rules) {
                    Some(old) => {
                        kept += 1;
                        old
                    }
                    None => Arc::new(Entry::new(rules)?),
                };
                Some((name, entry))
            });
            let entries: BTreeMap<_, _> = entries.collect();
            let is_changed = is_first || kept != before || kept != entries.len();
            published.0 = Some(entries);
            is_changed
        });
    }

    /// # Errors
    /// The answer if there are no such rules.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Result<Answer, Answer> {
        let all = self.0.as_ref().ok_or(Answer::NotReady)?;
        let name = (asked.namespace.to_owned(), asked.name.to_owned());
        let entry = all.get(&name).ok_or(Answer::NoSuchQueue)?;
        let is_known = |tag: &&str| *tag == "*" || tag.as_bytes() == entry.tag.as_bytes();
        Ok(match asked.known.iter().any(is_known) {
            true => Answer::NotModified(entry.tag.clone()),
            false => Answer::Rules(entry.json.clone(), entry.tag.clone()),
        })
    }
}

impl Entry {
    /// `None` if the rules have no JSON; none are known.
    fn new(rules: Rules) -> Option<Self> {
        let json = serde_json::to_vec(&rules).ok()?;
        let digest = digest(&SHA256, &json);
        let digest: String =
            digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{digest}\"")).ok()?;
        Some(Self { rules, json: json.into(), tag })
    }
}

//! What is wrong with the claims of a fragment: empty ones, those of older fragments, those of others.

use super::Claims;
use crate::{
    problem::Severity,
    table::{
        fragments::{Content, Fragment},
        matching::Matching,
        routes::SandboxRoute,
    },
};

impl<'a> Claims<'a> {
    /// Warns about a fragment that routes nothing, whatever the others say.
    pub(super) fn warn_of_empty(&mut self, fragment: &'a Fragment) {
        let (field, what) = match &fragment.content {
            content if content.is_empty() => match content {
                Content::Group { .. } => {
                    ("data.members", "add a line such as `members: pr-1, pr-2`")
                }
                Content::Sandbox { .. } => ("data.routes", "add a line such as `cart: cart-pr-1`"),
            },
            Content::Group { members, .. } if members.is_empty() => {
                ("data.match", "no active sandbox of its namespace has these labels")
            }
            _ => return,
        };
        self.findings.add(Severity::Warning, fragment, field, || {
            format!("empty: this ConfigMap routes nothing; {what}")
        });
    }

    /// Warns about each unavailable target. What its requests get depends on all claims of the key.
    pub(super) fn warn_unavailable(&mut self) {
        for entry in self.keys.values() {
            let has_next = entry.joined_by().is_some();
            for target in entry.routes.iter().filter(|target| target.is_unavailable()) {
                if let Some(fragment) = self.fragments.get(target.fragment) {
                    let text = || target.warning(has_next);
                    self.findings.add(Severity::Warning, fragment, "data.routes", text);
                }
            }
        }
    }

    /// Warns about a route whose destination an older fragment of the same key replaces.
    pub(super) fn warn_of_route(
        &mut self,
        older: usize,
        fragment: &'a Fragment,
        route: &SandboxRoute,
    ) {
        let Some(older) = self.fragments.get(older) else { return };
        self.findings.add(Severity::Warning, fragment, "data.routes", || {
            format!(
                "route `{}: {}` has no effect: the older ConfigMap {} replaces `{}` for key `{}`; \
                 remove one of the two routes",
                route.service,
                route.to,
                older.origin.id(),
                route.service,
                fragment.key,
            )
        });
    }

    /// Warns about a queue that no sandbox can have.
    pub(super) fn warn_of_no_queue(&mut self, fragment: &'a Fragment, queue: &str, why: &str) {
        self.findings.add(Severity::Warning, fragment, "data.queues", || {
            format!(
                "queue `{queue}` {why} in namespace `{}`, so its messages with this key go to the \
                 baseline; correct the name or the queue",
                fragment.origin.namespace
            )
        });
    }

    /// Warns about a queue that an older fragment of the same key has.
    pub(super) fn warn_of_queue(&mut self, older: usize, fragment: &'a Fragment, queue: &str) {
        let Some(older) = self.fragments.get(older) else { return };
        self.findings.add(Severity::Warning, fragment, "data.queues", || {
            format!(
                "queue `{queue}` has no effect: the older ConfigMap {} has it for key `{}`; remove it \
                 from one of the two",
                older.origin.id(),
                fragment.key,
            )
        });
    }

    /// Warns about a field of the key for which an older fragment sets another value.
    pub(super) fn warn_of_older(
        &mut self,
        set: Result<(), usize>,
        fragment: &'a Fragment,
        field: &str,
    ) {
        let Some(older) = set.err().and_then(|index| self.fragments.get(index)) else { return };
        self.findings.add(Severity::Warning, fragment, field, || {
            format!(
                "this value has no effect: the older ConfigMap {} sets another one for key `{}`; \
                 set the same value in both",
                older.origin.id(),
                fragment.key,
            )
        });
    }

    /// Refuses a field that only the owner of the key may set.
    pub(super) fn refuse(&mut self, fragment: &'a Fragment, field: &str, owner: Option<&str>) {
        let key = fragment.key;
        let why = match self.settings.key_owners.owner(&key) {
            Some(_) => "`keyOwners` in the settings says so",
            None => "it has the oldest sandbox or group with this key",
        };
        let owner = owner.unwrap_or_default();
        self.findings.add(Severity::Refused, fragment, field, || {
            format!(
                "this value has no effect: only namespace `{owner}` may set it for key `{key}`, \
                 because {why}; use another key, or ask the owner of that namespace"
            )
        });
    }
}

/// The field by which a group joins keys.
pub(super) fn joining_field(matching: &Matching) -> &'static str {
    if matching.is_empty() { "data.members" } else { "data.match" }
}

//! The API server's audit log: which requests of skycap's own accounts it has denied.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use skycap::names::{CONTROLLER, NAMESPACE, SANDBOXES};

use super::Cluster;

/// A request of one of skycap's own ServiceAccounts that the API server has denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The name of the object, empty for none (`create`, `list` of all).
    pub name: String,
    /// The API server's message, such as `… cannot list resource "configmaps" in API group "" at the
    /// cluster scope`. It names the permission that is missing, also where one request needs several:
    /// a server-side apply of a new object needs `patch` and `create`.
    pub message: String,
}

impl Denial {
    /// Whether the API server denied exactly this: the verb, the resource, and the namespace (`None`
    /// accepts any scope).
    #[must_use]
    pub fn is_of(&self, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
        let wanted = format!("cannot {verb} resource \"{resource}\" in API group ");
        let scope = namespace.map(|namespace| format!(" in the namespace \"{namespace}\""));
        self.message.contains(&wanted) && scope.is_none_or(|scope| self.message.contains(&scope))
    }
}

impl Cluster {
    /// The length of the audit log, in bytes: a position for [`Self::denials_since`].
    ///
    /// # Errors
    /// If there is no audit log.
    pub fn audit_position(&self) -> anyhow::Result<u64> {
        Ok(self.audit_log()?.metadata()?.len())
    }

    /// The denied requests of skycap's own accounts since this position of the audit log.
    ///
    /// # Errors
    /// If the audit log cannot be read.
    pub fn denials_since(&self, position: u64) -> anyhow::Result<Vec<Denial>> {
        let mut log = self.audit_log()?;
        log.seek(SeekFrom::Start(position))?;
        let mut text = String::new();
        log.read_to_string(&mut text)?;
        // The API server may be writing the last line now.
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let denied = events.filter(|event| event["responseStatus"]["code"] == 403);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let denial = |event: Value| Denial {
            name: text(&event["responseStatus"]["details"]["name"]),
            message: match text(&event["responseStatus"]["message"]) {
                message if message.is_empty() => of_pod(&event["verb"], &event),
                // A WebSocket to a Pod is authorized as `get`, and again as `create`, which gives no
                // reason (kubernetes: AuthorizePodWebsocketUpgradeCreatePermission).
                message if message.ends_with("is forbidden: ") => of_pod(&json!("create"), &event),
                message => message,
            },
        };
        Ok(denied.map(denial).collect())
    }

    fn audit_log(&self) -> anyhow::Result<File> {
        let path = self.folder.path().join(LOG);
        File::open(&path).with_context(|| format!("cannot open {path:?}"))
    }
}

/// The message for a denied request that the API server would have passed on to a Pod: its log has none.
fn of_pod(verb: &Value, event: &Value) -> String {
    let field = |name: &str| event["objectRef"][name].as_str().unwrap_or_default();
    let verb = verb.as_str().unwrap_or_default();
    let resource = format!("{}/{}", field("resource"), field("subresource"));
    let (group, namespace) = (field("apiGroup"), field("namespace"));
    format!(
        "cannot {verb} resource \"{resource}\" in API group \"{group}\" in the namespace \"{namespace}\""
    )
}

/// Only the requests of skycap's own accounts are logged, without their bodies.
pub(super) fn policy() -> Value {
    let account = |namespace, name| format!("system:serviceaccount:{namespace}:{name}");
    let users = [account(NAMESPACE, CONTROLLER), account("shop", SANDBOXES)];
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
    })
}

/// The file's name. It does not end in `.log`: a failed test prints those.
pub(super) const LOG: &str = "audit.jsonl";

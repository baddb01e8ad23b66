//! Fragments: ConfigMaps with skycap's label, parsed.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use skycap_core::{key::RoutingKey, names::check_label};

use super::{
    availability::OnUnavailable,
    data::{Data, parse_bool},
    expiry,
    limits::FRAGMENT_MEMBERS,
    matching::Matching,
    origin::Origin,
    queue::{Unread, names},
    role::Role,
    routes,
    routes::SandboxRoute,
};
use crate::{
    names::{KIND_LABEL, MANAGED_BY},
    problem::{InvalidField, InvalidValue, Problem},
};

/// One fragment that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Which ConfigMap it is, and how old.
    pub origin: Origin,
    /// The routing key; `metadata.name` if the data has no `key`.
    pub key: RoutingKey,
    /// Whether it is enabled.
    pub enabled: bool,
    /// When it expires; `None` if it never does.
    pub expires: Option<Timestamp>,
    /// What it adds to its key.
    pub content: Content,
}

/// What a fragment adds to its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A group joins several keys; the first one that replaces a destination wins.
    Group {
        /// The keys.
        members: Arc<[RoutingKey]>,
        /// The sandboxes of its namespace that it joins too, behind the members.
        matching: Matching,
    },
    /// A sandbox replaces Services.
    Sandbox {
        /// The labels of its ConfigMap, by which groups match it.
        labels: BTreeMap<String, String>,
        /// The key to search for a destination that this sandbox does not replace.
        extends: Option<RoutingKey>,
        /// What a request gets while a target is unavailable; `None` for the settings' value.
        on_unavailable: Option<OnUnavailable>,
        /// The routes, in the order of the Services' names.
        routes: Vec<SandboxRoute>,
        /// The queues of its namespace whose messages with its key are its own.
        queues: Vec<String>,
        /// What becomes of unread messages when it ends; `None` for what the queue says.
        unread: Option<Unread>,
    },
}

impl Content {
    /// Whether it adds nothing to its key, and so makes no namespace the key's owner.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Group { members, matching } => members.is_empty() && matching.is_empty(),
            Self::Sandbox { extends, routes, queues, .. } => {
                extends.is_none() && routes.is_empty() && queues.is_empty()
            }
        }
    }
}

impl Fragment {
    /// Parses a ConfigMap; `None` if it is not a fragment. `now` is what a `ttl` counts from if the
    /// ConfigMap has no creation time.
    ///
    /// # Errors
    /// The problem for which the fragment is rejected.
    pub fn parse(
        map: &ConfigMap,
        source: Option<&str>,
        now: Timestamp,
    ) -> Option<Result<Self, Problem>> {
        let Some(Role::Fragment(kind)) = Role::of(map) else { return None };
        let origin = Origin::of(map, source);
        let parsed = match kind {
            "sandbox" => sandbox(map, &origin, now),
            "group" => group(Data::of(map), &origin, now),
            other => Err(InvalidField::new(
                &format!("metadata.labels.{KIND_LABEL}"),
                InvalidValue::new(
                    "kind",
                    other,
                    "`sandbox`, `group`, `queue`, `resource` or `settings`",
                ),
            )),
        };
        Some(parsed.map_err(|field| origin.refusal(field)))
    }
}

fn sandbox(map: &ConfigMap, origin: &Origin, now: Timestamp) -> Result<Fragment, InvalidField> {
    let mut data = Data::of(map);
    data.check_size()?;
    let mut labels = map.metadata.labels.clone().unwrap_or_default();
    // All sandboxes have these.
    labels.retain(|name, _| !matches!(name.as_str(), KIND_LABEL | MANAGED_BY));
    let content = Content::Sandbox {
        labels,
        extends: data.take("extends", parse_key)?,
        on_unavailable: data.take("onUnavailable", str::parse::<OnUnavailable>)?,
        routes: data.take("routes", routes::parse)?.unwrap_or_default(),
        queues: data.take("queues", |text| names::parse(text, &origin.name))?.unwrap_or_default(),
        unread: data.take("unread", str::parse::<Unread>)?,
    };
    fragment(data, origin, now, content, "`routes`, `queues`, `unread`, `extends`, `onUnavailable`")
}

fn group(mut data: Data, origin: &Origin, now: Timestamp) -> Result<Fragment, InvalidField> {
    data.check_size()?;
    let members = data.take("members", parse_members)?;
    let matching = data.take("match", str::parse::<Matching>)?.unwrap_or_default();
    let content = Content::Group { members: members.unwrap_or_default(), matching };
    fragment(data, origin, now, content, "`members`, `match`")
}

/// Takes the data keys that both kinds have; `other_keys` are those that only this kind has.
fn fragment(
    mut data: Data,
    origin: &Origin,
    now: Timestamp,
    content: Content,
    other_keys: &str,
) -> Result<Fragment, InvalidField> {
    let key = data.take("key", parse_key)?;
    let enabled = data.take("enabled", parse_bool)?.unwrap_or(true);
    let ttl = data.take("ttl", |ttl| expiry::after(ttl, origin.created, now))?;
    let expires = data.take("expires", expiry::at)?;
    if ttl.is_some() && expires.is_some() {
        return Err(InvalidField::new("data.ttl", "both `ttl` and `expires` are set; keep one"));
    }
    data.close(&format!("`key`, `enabled`, `ttl`, `expires`, {other_keys}"))?;
    check_name(&origin.name).map_err(|error| InvalidField::new("metadata.name", error))?;
    check_label(&origin.namespace)
        .map_err(|error| InvalidField::new("metadata.namespace", error))?;
    let key = match key {
        Some(key) => key,
        None => parse_key(&origin.name).map_err(|error| {
            InvalidField::new("metadata.name", format!("{error}; choose a key with `data.key`"))
        })?,
    };
    Ok(Fragment { origin: origin.clone(), key, enabled, expires: ttl.or(expires), content })
}

/// Checks that a file's ConfigMap has a name that the API server would accept (RFC 1123).
fn check_name(name: &str) -> Result<(), InvalidValue> {
    let expected = "1 to 253 of `a-z 0-9 . -`, beginning and ending with a letter or a digit";
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    let is_edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    let mut bytes = name.bytes();
    let is_valid = name.len() <= 253 && name.bytes().all(is_inner);
    let is_valid = is_valid && is_edge(bytes.clone().next()) && is_edge(bytes.next_back());
    is_valid.then_some(()).ok_or_else(|| InvalidValue::new("name", name, expected))
}

fn parse_members(text: &str) -> Result<Arc<[RoutingKey]>, InvalidMembers> {
    let members = || text.split(',').map(str::trim).filter(|key| !key.is_empty());
    match members().count() {
        0..=FRAGMENT_MEMBERS => members().map(|key| Ok(parse_key(key)?)).collect(),
        count => Err(InvalidMembers::TooMany(count)),
    }
}

/// Why `members` is rejected.
#[derive(Debug, thiserror::Error)]
enum InvalidMembers {
    #[error(transparent)]
    Key(#[from] InvalidValue),
    #[error(
        "{0} members: expected at most {FRAGMENT_MEMBERS}; make a group of groups, or remove some"
    )]
    TooMany(usize),
}

fn parse_key(text: &str) -> Result<RoutingKey, InvalidValue> {
    let expected = "1 to 64 of `A-Z a-z 0-9 . _ ~ -`";
    text.parse().map_err(|_| InvalidValue::new("routing key", text, expected))
}

//! Fragments: labelled ConfigMaps, parsed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use skycap_core::{key::RoutingKey, names::check_label};

pub use crate::routes::SandboxRoute;
use crate::{
    cluster::DEFAULT_NAMESPACE,
    expiry,
    problem::{Fault, Problem, Severity},
    routes,
};

/// One labelled ConfigMap that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Whose it is, and since when.
    pub origin: Origin,
    /// The routing key; `metadata.name` where the data has none.
    pub key: RoutingKey,
    /// The toggle.
    pub enabled: bool,
    /// When it stops to route.
    pub expires: Option<Timestamp>,
    /// What it says of its key.
    pub content: Content,
}

/// A sandbox routes; a group joins keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Joins several keys; the first that replaces a destination wins.
    Group {
        /// The keys.
        members: Vec<RoutingKey>,
    },
    /// Replaces Services.
    Sandbox {
        /// Where to look for a destination that it does not replace.
        extends: Option<RoutingKey>,
        /// What a request gets while a target is unavailable; `None` is what the settings say.
        on_unavailable: Option<OnUnavailable>,
        /// What replaces what, by name of the Service.
        routes: Vec<SandboxRoute>,
    },
}

/// What a request gets while its target is unavailable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnavailable {
    /// The search goes on, to the baseline at last.
    #[default]
    Baseline,
    /// A 503.
    Fail,
}

/// Whose a ConfigMap is, and since when. Ordered by age: the oldest first, then by name; one
/// without a creation time (a file that was never applied) is younger than all that have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When the API server took it.
    pub created: Option<Timestamp>,
    /// Its namespace, `default` where a file has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it was read: `file.yaml:12`.
    pub source: String,
}

impl Origin {
    /// Whose `map` is.
    #[must_use]
    pub fn of(map: &ConfigMap, source: &str) -> Self {
        let metadata = &map.metadata;
        Self {
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            namespace: metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE).into(),
            name: metadata.name.clone().unwrap_or_default(),
            source: source.into(),
        }
    }

    /// `shop/pr-1`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What claims are decided by.
    pub(crate) fn age(&self) -> impl Ord + '_ {
        (self.created.is_none(), self.created, &self.namespace, &self.name)
    }

    pub(crate) fn problem(&self, severity: Severity, field: &str, text: String) -> Problem {
        let (fragment, source) = (self.id(), self.source.clone());
        Problem { severity, fragment, source, field: field.into(), text }
    }
}

impl Fragment {
    /// Parses a labelled ConfigMap; `None` where it has no label and is none of skycap's.
    ///
    /// # Errors
    /// The problem for which it is refused.
    pub fn parse(map: &ConfigMap, source: &str, now: Timestamp) -> Option<Result<Self, Problem>> {
        let label = map.metadata.labels.as_ref()?.get(KIND_LABEL)?;
        let origin = Origin::of(map, source);
        let data = Data(map.data.clone().unwrap_or_default());
        let parsed = match label.as_str() {
            "sandbox" => sandbox(data, &origin, now),
            "group" => group(data, &origin, now),
            // Settings are known by name and namespace.
            "settings" => return None,
            other => Err(Fault::new(
                &format!("metadata.labels.{KIND_LABEL}"),
                format!("`{other}` is no kind, expected `sandbox`, `group` or `settings`"),
            )),
        };
        Some(parsed.map_err(|fault| origin.problem(Severity::Refused, &fault.field, fault.text)))
    }
}

fn sandbox(mut data: Data, origin: &Origin, now: Timestamp) -> Result<Fragment, Fault> {
    let content = Content::Sandbox {
        extends: data.take("extends", parse_key)?,
        on_unavailable: data.take("onUnavailable", str::parse)?,
        routes: data.take("routes", routes::parse)?.unwrap_or_default(),
    };
    fragment(data, origin, now, content, "`routes`, `extends`, `onUnavailable`")
}

fn group(mut data: Data, origin: &Origin, now: Timestamp) -> Result<Fragment, Fault> {
    let members = data.take("members", |text| {
        text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(parse_key).collect()
    })?;
    let content = Content::Group { members: members.unwrap_or_default() };
    fragment(data, origin, now, content, "`members`")
}

/// The data keys that both kinds have, and then nothing may be left.
fn fragment(
    mut data: Data,
    origin: &Origin,
    now: Timestamp,
    content: Content,
    others: &str,
) -> Result<Fragment, Fault> {
    let key = data.take("key", parse_key)?;
    let enabled = data.take("enabled", parse_bool)?.unwrap_or(true);
    let ttl = data.take("ttl", |ttl| expiry::after(ttl, origin.created, now))?;
    let expires = data.take("expires", expiry::at)?;
    if ttl.is_some() && expires.is_some() {
        return Err(Fault::new("data.ttl", "there is `expires` too; keep one of the two"));
    }
    data.close(&format!("`key`, `enabled`, `ttl`, `expires`, {others}"))?;
    check_label(&origin.namespace).map_err(|error| Fault::new("metadata.namespace", error))?;
    let key = match key {
        Some(key) => key,
        None => parse_key(&origin.name).map_err(|text| {
            Fault::new("metadata.name", format!("{text}; choose a key with `data.key`"))
        })?,
    };
    Ok(Fragment { origin: origin.clone(), key, enabled, expires: ttl.or(expires), content })
}

/// The data of a ConfigMap, of which each key is taken once.
pub(crate) struct Data(pub(crate) BTreeMap<String, String>);

impl Data {
    /// Takes `key` out and parses it.
    pub(crate) fn take<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Fault> {
        let value = self.0.remove(key);
        let parsed = value.map(|value| parse(value.trim())).transpose();
        parsed.map_err(|text| Fault::new(&format!("data.{key}"), text))
    }

    /// Refuses what nobody took.
    pub(crate) fn close(&self, expected: &str) -> Result<(), Fault> {
        self.0.keys().next().map_or(Ok(()), |key| {
            let text = format!("is no data key of skycap, expected one of {expected}");
            Err(Fault::new(&format!("data.{key}"), text))
        })
    }
}

impl std::str::FromStr for OnUnavailable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "baseline" => Ok(Self::Baseline),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("`{text}` is unknown, expected `baseline` or `fail`")),
        }
    }
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is no toggle, expected `\"true\"` or `\"false\"`"))
}

fn parse_key(text: &str) -> Result<RoutingKey, String> {
    text.parse().map_err(|error| {
        format!("`{text}` is no routing key: it {error}; expected 1 to 64 of `A-Z a-z 0-9 . _ ~ -`")
    })
}

/// The label that makes a ConfigMap a fragment.
pub const KIND_LABEL: &str = "skycap.dev/kind";

//! Fragments: labelled ConfigMaps, parsed.

use crate::names::KIND_LABEL;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};
use skycap_core::{key::RoutingKey, names::check_label};

use super::{
    data::{Data, parse_bool},
    expiry,
    origin::Origin,
    routes,
    routes::SandboxRoute,
};
use crate::problem::{Fault, Problem, Severity};

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnavailable {
    /// The search goes on, to the baseline at last.
    #[default]
    Baseline,
    /// A 503.
    Fail,
}

impl Fragment {
    /// Parses a labelled ConfigMap; `None` where it has no label and is none of skycap's.
    ///
    /// # Errors
    /// The problem for which it is refused.
    pub fn parse(
        map: &ConfigMap,
        source: Option<&str>,
        now: Timestamp,
    ) -> Option<Result<Self, Problem>> {
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

fn parse_key(text: &str) -> Result<RoutingKey, String> {
    text.parse().map_err(|error| {
        format!("`{text}` is no routing key: it {error}; expected 1 to 64 of `A-Z a-z 0-9 . _ ~ -`")
    })
}

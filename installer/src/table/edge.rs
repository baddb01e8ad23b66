//! The settings' `edge`: which proxies are the edge, and which keys from outside they accept.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use skycap_core::{
    carrier::HostPattern,
    config::ServiceName,
    edge::{Edge, Guard, KeyPattern, Workload},
};

use super::yaml::{self, InvalidYaml};
use crate::problem::InvalidValue;

/// The edge without settings: all ingress gateways of Istio, which accept no key.
pub(crate) fn closed() -> Edge {
    Edge { workloads: vec![Workload::Gateways], ..Edge::default() }
}

/// Parses a YAML map such as `{accept: listed, listed: [demo-*]}`.
pub(crate) fn parse(text: &str) -> Result<Edge, InvalidEdge> {
    let Fields { workloads, accept, listed, hosts } = yaml::parse_value(text)?;
    let workloads = match workloads.map(Workloads::into_list) {
        None => closed().workloads,
        Some(Some(workloads)) if (1..=WORKLOADS).contains(&workloads.len()) => workloads,
        Some(_) => return Err(InvalidEdge::Workloads),
    };
    if !listed.is_empty() && !matches!(accept, Accept::Listed) {
        return Err(InvalidEdge::NotListed);
    }
    match accept {
        Accept::None => Ok(Edge { workloads, hosts, ..Edge::default() }),
        Accept::Listed if listed.is_empty() => Err(InvalidEdge::NothingListed),
        Accept::Listed => Ok(Edge { workloads, accept: listed, hosts, ..Edge::default() }),
        Accept::Open => Ok(Edge::default()),
    }
}

/// Parses `edgeBypass`.
pub(crate) fn parse_bypass(text: &str) -> Result<bool, InvalidValue> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(InvalidValue::new("value", text, "`\"on\"` or `\"off\"`")),
    }
}

/// Which Services keep the gateways' own routes: these, or all if the list exceeds [`GUARD_BYTES`].
pub(crate) fn guard(services: BTreeSet<ServiceName>) -> Guard {
    // With `guard:` and the space in front of it.
    let bytes: usize = services.iter().map(|service| service.as_str().len() + 7).sum();
    if bytes > GUARD_BYTES { Guard::All } else { Guard::Services(services.into_iter().collect()) }
}

/// Why `edge` is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidEdge {
    /// Not YAML, or a field that does not exist, or a value that it does not accept.
    #[error("{0}; expected a map such as `{{accept: listed, listed: [demo-*]}}`")]
    Yaml(#[from] InvalidYaml),
    /// No workload, too many, a set of no labels, which every proxy has, or an invalid label.
    #[error(
        "`workloads`: expected the labels of the edge's proxies, such as `{{istio: \
         ingressgateway}}`, or a list of 1 to {WORKLOADS} of such maps; without `workloads`, all \
         ingress gateways are the edge"
    )]
    Workloads,
    /// `accept: listed` without `listed`.
    #[error("`accept: listed` without `listed`: expected keys such as `listed: [demo-*]`")]
    NothingListed,
    /// `listed` without `accept: listed`.
    #[error("`listed` has no effect without `accept: listed`; add that, or remove `listed`")]
    NotListed,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    workloads: Option<Workloads>,
    accept: Accept,
    listed: Vec<KeyPattern>,
    hosts: Vec<HostPattern>,
}

/// One set of labels, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Workloads {
    One(BTreeMap<String, String>),
    Several(Vec<BTreeMap<String, String>>),
}

impl Workloads {
    fn into_list(self) -> Option<Vec<Workload>> {
        match self {
            Self::One(labels) => Some(vec![to_workload(&labels)?]),
            Self::Several(list) => list.iter().map(to_workload).collect(),
        }
    }
}

fn to_workload(labels: &BTreeMap<String, String>) -> Option<Workload> {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
    labels.collect::<Vec<_>>().join(",").parse().ok().map(Workload::Labels)
}

/// Which keys from outside have an effect.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Accept {
    #[default]
    None,
    Listed,
    Open,
}

/// The most bytes of guarded Services: whoever writes VirtualServices must not fill the table.
const GUARD_BYTES: usize = 8 << 10;
/// The most sets of labels.
const WORKLOADS: usize = 16;

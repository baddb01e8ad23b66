//! The settings' `edge`: which proxies are the edge, and which keys from outside they accept.

use std::collections::BTreeMap;

use serde::Deserialize;
use skycap_core::{
    carrier::HostPattern,
    edge::{Edge, KeyPattern, Labels},
};

use super::yaml::{self, InvalidYaml};

/// The edge without settings: the ingress gateways of Istio's charts and of its Gateway API controller
/// (istio: `manifests/charts/gateway`, `pkg/config/constants` `ManagedGatewayLabel`). They accept no
/// key.
pub(crate) fn closed() -> Edge {
    let text = "istio=ingressgateway gateway.istio.io/managed=istio.io-gateway-controller";
    text.parse().unwrap_or_default()
}

/// Parses a YAML map such as `{accept: listed, listed: [demo-*]}`.
pub(crate) fn parse(text: &str) -> Result<Edge, InvalidEdge> {
    let Fields { workloads, accept, listed, hosts } = yaml::parse_value(text)?;
    let workloads = match workloads.map(Workloads::into_labels) {
        None => closed().workloads,
        Some(Some(workloads)) if (1..=EDGES).contains(&workloads.len()) => workloads,
        Some(_) => return Err(InvalidEdge::Workloads),
    };
    match accept {
        Accept::None => Ok(Edge { workloads, accept: Vec::new(), hosts }),
        Accept::Listed if listed.is_empty() => Err(InvalidEdge::NothingListed),
        Accept::Listed => Ok(Edge { workloads, accept: listed, hosts }),
        Accept::Open => Ok(Edge::default()),
    }
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
         ingressgateway}}`, or a list of 1 to {EDGES} of such maps"
    )]
    Workloads,
    /// `accept: listed` without `listed`.
    #[error("`accept: listed` without `listed`: expected keys such as `listed: [demo-*]`")]
    NothingListed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    workloads: Option<Workloads>,
    #[serde(default)]
    accept: Accept,
    #[serde(default)]
    listed: Vec<KeyPattern>,
    #[serde(default)]
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
    fn into_labels(self) -> Option<Vec<Labels>> {
        match self {
            Self::One(labels) => Some(vec![to_labels(&labels)?]),
            Self::Several(list) => list.iter().map(to_labels).collect(),
        }
    }
}

fn to_labels(labels: &BTreeMap<String, String>) -> Option<Labels> {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
    labels.collect::<Vec<_>>().join(",").parse().ok()
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

/// The most sets of labels, because each needs an EnvoyFilter of its own.
pub const EDGES: usize = 4;

//! One scenario: its YAML, its table, and the expected result of each request.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use skycap::table::{compile::compile, input::Input, manifests::Manifests};
use skycap_core::dispatch::{CLUSTER_HEADER, Dispatch, SANDBOX_HEADER};

use crate::host::View;

/// One scenario.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What the scenario shows.
    pub about: String,
    /// Kubernetes YAML: ConfigMaps and, if the scenario has any, Services and EndpointSlices.
    config_maps: String,
    /// The time of the compile.
    #[serde(default)]
    now: Option<Timestamp>,
    /// Whether a gateway decides, and not a sidecar.
    #[serde(default)]
    pub(super) gateway: bool,
    /// The labels of the proxy that decides.
    #[serde(default)]
    pub(super) proxy_labels: BTreeMap<String, String>,
    /// The requests; each one runs on its own.
    pub(super) requests: Vec<Case>,
}

/// One request of a scenario.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    pub(super) about: String,
    pub(super) to: String,
    #[serde(default)]
    headers: Vec<String>,
    pub(super) expect: String,
    reason: String,
    /// `null` means that Envoy picked no cluster.
    #[serde(default, deserialize_with = "some")]
    cluster: Option<Option<String>>,
    #[serde(default)]
    virtual_host: Option<String>,
    #[serde(default)]
    expect_headers: Vec<String>,
    #[serde(default)]
    expect_removed: Vec<String>,
    #[serde(default)]
    pub(super) http_route_model: Option<Difference>,
}

/// What a mesh does with the HTTPRoutes if they cannot express what the filter does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Difference {
    /// What Linkerd does, if it differs from the filter.
    pub(super) linkerd: Option<String>,
    /// What other meshes of the Gateway API do, if it differs from the filter.
    pub(super) gateway_api: Option<String>,
    /// The reason, for the reader.
    #[serde(rename = "because")]
    _because: String,
}

/// The result of a request.
#[derive(PartialEq, Eq)]
pub(super) struct Observed {
    /// The headers that are sent on, sorted.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// The status of a response by the filter itself.
    pub(super) status: Option<u32>,
    /// The label of the outcome.
    pub(super) reason: String,
}

impl Scenario {
    /// How many requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn manifests(&self) -> Manifests {
        let mut manifests = Manifests::default();
        manifests.add(&self.config_maps, "configMaps");
        manifests
    }

    /// The compiled table, as JSON.
    pub(super) fn table(&self) -> anyhow::Result<String> {
        let manifests = self.manifests();
        let now = self.now.unwrap_or_else(|| Timestamp::constant(1_795_000_000, 0));
        let compilation = compile(&Input::new(&manifests, now), now);
        ensure!(!compilation.report.refuses(), "rejected: {:?}", compilation.report.problems);
        Ok(compilation.config.context("the settings are rejected")?.into_json()?)
    }

    /// Compares what `observe` returns for each request with what its case expects.
    pub(super) fn run(
        &self,
        dispatch: Dispatch,
        mut observe: impl FnMut(&View) -> anyhow::Result<Observed>,
    ) -> anyhow::Result<Vec<String>> {
        let mut failures = Vec::new();
        for case in &self.requests {
            let view = case.view().with_context(|| case.about.clone())?;
            let observed = observe(&view).with_context(|| case.about.clone())?;
            let expected = case.expected(&view, dispatch).with_context(|| case.about.clone())?;
            if observed != expected {
                let about = &case.about;
                failures
                    .push(format!("{about}:\n  expected {expected:?}\n  but saw  {observed:?}"));
            }
        }
        Ok(failures)
    }
}

impl Case {
    /// The request, as Envoy shows it to the filter.
    pub(super) fn view(&self) -> anyhow::Result<View> {
        let (service, port) = self.destination()?;
        let cluster = format!("outbound|{port}||{service}.svc.cluster.local");
        let host = format!("{service}.svc.cluster.local:{port}");
        let own = [(":authority", service), (":path", "/")];
        let own = own.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let mut headers: Vec<_> = own.into();
        for line in &self.headers {
            let (name, value) = header(line)?;
            // A pseudo-header of the case replaces the default one.
            headers.retain(|(other, _)| !name.starts_with(':') || *other != name);
            headers.push((name, value));
        }
        Ok(View {
            headers,
            cluster_name: self.cluster.clone().unwrap_or(Some(cluster)).map(String::into_bytes),
            virtual_host_name: Some(self.virtual_host.clone().unwrap_or(host).into_bytes()),
        })
    }

    /// The Service and port that are called.
    pub(super) fn destination(&self) -> anyhow::Result<(&str, u16)> {
        split_port(&self.to)
    }

    /// Whether Envoy picked the cluster and virtual host of `to`.
    pub(super) fn has_default_destination(&self) -> bool {
        self.cluster.is_none() && self.virtual_host.is_none()
    }

    fn expected(&self, view: &View, dispatch: Dispatch) -> anyhow::Result<Observed> {
        let mut headers = view.headers.clone();
        headers.retain(|(name, _)| Some(name.as_str()) != dispatch.owned_header());
        let status = match self.expect.as_str() {
            "baseline" => None,
            "503" => Some(503),
            target => {
                let (name, port) = split_port(target)?;
                let host = format!("{name}.svc.cluster.local");
                let edit = match dispatch {
                    Dispatch::Authority => (":authority", host),
                    Dispatch::ClusterHeader => (CLUSTER_HEADER, format!("outbound|{port}||{host}")),
                    Dispatch::Header => (SANDBOX_HEADER, String::new()),
                };
                set(&mut headers, edit.0, edit.1.into_bytes());
                None
            }
        };
        headers.retain(|(name, _)| !self.expect_removed.contains(name));
        for line in &self.expect_headers {
            let (name, value) = header(line)?;
            set(&mut headers, &name, value);
        }
        headers.sort();
        Ok(Observed { headers, status, reason: self.reason.clone() })
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        self.status.map_or(Ok(()), |status| write!(f, " {status}"))?;
        let mut headers = self.headers.iter();
        headers.try_for_each(|(name, value)| write!(f, " {name}: `{}`", value.escape_ascii()))
    }
}

/// Replaces all lines of a header with one.
pub(super) fn set(headers: &mut Vec<(String, Vec<u8>)>, name: &str, value: Vec<u8>) {
    headers.retain(|(other, _)| other != name);
    headers.push((name.into(), value));
}

/// Parses `name: value`. The name is in lower case, as in Envoy; `\xNN` in the value is one byte.
fn header(line: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let invalid = |expected| format!("invalid header `{line}`: expected {expected}");
    let colon = line.get(1..).and_then(|rest| rest.find(':'));
    let colon = colon.with_context(|| invalid("`name: value`"))?;
    let (name, value) = line.split_at(colon + 1);
    let mut bytes = Vec::new();
    let mut rest = value.trim_start_matches(':').trim_start_matches(' ');
    while let Some(escape) = rest.find("\\x") {
        let (before, escaped) = rest.split_at(escape);
        let digits = escaped.get(2..4).with_context(|| invalid("two digits after `\\x`"))?;
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(digits, 16)?);
        rest = escaped.get(4..).unwrap_or_default();
    }
    bytes.extend(rest.as_bytes());
    Ok((name.to_lowercase(), bytes))
}

fn split_port(text: &str) -> anyhow::Result<(&str, u16)> {
    let parts = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    parts.with_context(|| format!("invalid value `{text}`: expected `service.namespace:port`"))
}

/// Distinguishes `null` from a missing field.
fn some<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

//! The case table: scenarios that anyone can read, run natively and through the module.
//!
//! A file of `cases/` is one scenario:
//! ```yaml
//! about: a sandbox takes the place of one Service
//! configMaps: |                  # what kubectl would apply, several documents if need be
//!   …
//! now: 2026-11-23T12:00:00Z      # optional
//! requests:
//! - about: the key
//!   to: cart.shop:80             # the Service and port that were called
//!   headers: ["baggage: sandbox=pr-1"]
//!   expect: cart-pr-1.shop:80    # a target, `baseline`, or `503`
//!   reason: routed               # the outcome, by its label
//! ```
//! `\xNN` in a header is a byte. `cluster` and `virtualHost` say what Envoy picked, where that is
//! not what `to` says. `baseline` means that nothing at all changes, but for a dispatch header
//! that a client sent, which goes; `expectHeaders` names further lines that the request must have.
//! `httpRoutes` says what a mesh of the Gateway API does, where that is something else, and why.

use std::{borrow::Cow, collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use skycap::{
    desired::gateway_api::HttpRoutes,
    table::{
        cluster::Cluster, compile::compile, input::Input, manifests::Manifests, meshes::Meshes,
        policies::Policies,
    },
};
use skycap_core::{
    config::PluginConfig,
    decision::decide,
    dispatch::{CLUSTER_HEADER, Dispatch, SANDBOX_HEADER},
    effect::HeaderEdit,
    request::Request,
    table::Table,
};

use crate::{
    host::{Proxy, View},
    mesh::{Answer, Mesh, Route},
    workspace,
};

/// One scenario.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows.
    pub about: String,
    /// Kubernetes YAML: ConfigMaps, and Services and EndpointSlices where there are any.
    config_maps: String,
    /// The time of the compile.
    #[serde(default)]
    now: Option<Timestamp>,
    /// The requests, each by itself.
    requests: Vec<Case>,
}

/// One request of a scenario.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    about: String,
    to: String,
    #[serde(default)]
    headers: Vec<String>,
    expect: String,
    reason: String,
    /// `null` is no cluster at all.
    #[serde(default, deserialize_with = "some")]
    cluster: Option<Option<String>>,
    #[serde(default)]
    virtual_host: Option<String>,
    #[serde(default)]
    expect_headers: Vec<String>,
    #[serde(default)]
    http_routes: Option<Differs>,
}

/// What HTTPRoutes do where they cannot do as the filter does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Differs {
    /// What is to be seen on Linkerd, if it is not what the filter does.
    linkerd: Option<String>,
    /// The same for other meshes.
    gateway_api: Option<String>,
    /// Why.
    #[serde(rename = "because")]
    _because: String,
}

/// What was seen of a request.
#[derive(PartialEq, Eq)]
struct Seen {
    headers: Vec<(String, Vec<u8>)>,
    status: Option<u32>,
    reason: String,
}

/// All scenarios of `cases/`, by file name.
///
/// # Errors
/// When a file cannot be read, with its name.
pub fn all() -> anyhow::Result<Vec<(String, Scenario)>> {
    let folder = workspace::root().join("wasm-tests/cases");
    let entries = fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.iter().map(|path| Ok((file_name(path), read(path)?))).collect()
}

impl Scenario {
    /// Runs the requests by the core alone. Gives the failures, one line each.
    ///
    /// # Errors
    /// When the scenario itself is broken.
    pub fn run_natively(&self) -> anyhow::Result<Vec<String>> {
        let table = Table::from_json(self.table()?.as_bytes())?;
        self.run(table.config().dispatch, |view| Ok(decide_natively(&table, view)))
    }

    /// Runs the requests through the built module.
    ///
    /// # Errors
    /// When the scenario itself is broken, or when the module traps.
    pub fn run_in(&self, wasm: &[u8]) -> anyhow::Result<Vec<String>> {
        let json = self.table()?;
        let dispatch = PluginConfig::from_json(json.as_bytes())?.dispatch;
        let mut proxy = Proxy::new(wasm)?;
        ensure!(proxy.push(json.as_bytes())?, "the module refuses the table");
        self.run(dispatch, |view| decide_in(&mut proxy, view))
    }

    /// Runs the requests by the HTTPRoutes of the same table. What Envoy picked has no meaning
    /// there, so cases about that are left out.
    ///
    /// # Errors
    /// When the scenario itself is broken.
    pub fn run_on(&self, mesh: Mesh) -> anyhow::Result<Vec<String>> {
        let config = PluginConfig::from_json(self.table()?.as_bytes())?;
        let cluster = self.cluster()?;
        let routes = HttpRoutes::new(&config, &cluster, &Policies::default(), &Meshes::default());
        let mut failures = Vec::new();
        for case in self.requests.iter().filter(|case| case.says_no_more_than_to()) {
            let (service, port) = case.destination()?;
            let found = Route::of(&routes.objects, service, port, 0)?;
            let seen = match mesh.answer(&found, &case.view()?)? {
                Answer::Service => "baseline".to_owned(),
                Answer::NotFound => "404".to_owned(),
                Answer::Rule { backends, .. } if backends == [case.to.clone()] => "baseline".into(),
                Answer::Rule { backends, .. } => backends.join(" "),
            };
            let differs = case.http_routes.as_ref().and_then(|differs| match mesh {
                Mesh::Linkerd => differs.linkerd.as_ref(),
                Mesh::GatewayApi => differs.gateway_api.as_ref(),
            });
            ensure!(differs != Some(&case.expect), "{}: it does not differ", case.about);
            let expected = differs.unwrap_or(&case.expect);
            // A target that is away is still the backend, and the mesh answers with a 5xx.
            let is_away = expected == "503" && !["baseline", "404"].contains(&seen.as_str());
            if seen != *expected && !is_away {
                failures.push(format!("{}: expected {expected}, but saw {seen}", case.about));
            }
        }
        Ok(failures)
    }

    /// The scenario's Services, or where it has none those that its requests are for.
    fn cluster(&self) -> anyhow::Result<Cluster> {
        let manifests = self.manifests();
        if !manifests.services.is_empty() {
            return Ok(Cluster::new(&manifests.services, &manifests.endpoint_slices));
        }
        let mut ports = BTreeMap::<_, Vec<_>>::new();
        for case in &self.requests {
            let (service, port) = case.destination()?;
            ports.entry(service).or_default().push(json!({"port": port}));
        }
        let services = ports.into_iter().filter_map(|(service, ports)| {
            let (name, namespace) = service.split_once('.')?;
            let metadata = json!({"name": name, "namespace": namespace});
            Some(serde_json::from_value(json!({"metadata": metadata, "spec": {"ports": ports}})))
        });
        Ok(Cluster::new(&services.collect::<Result<Vec<_>, _>>()?, &[]))
    }

    /// How many requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no request, which shows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn manifests(&self) -> Manifests {
        let mut manifests = Manifests::default();
        manifests.add(&self.config_maps, "configMaps");
        manifests
    }

    fn table(&self) -> anyhow::Result<String> {
        let manifests = self.manifests();
        let now = self.now.unwrap_or_else(|| Timestamp::constant(1_795_000_000, 0));
        let compilation = compile(&Input::new(&manifests, now), now);
        ensure!(!compilation.report.refuses(), "refused: {:?}", compilation.report.problems);
        Ok(compilation.config.context("the settings are refused")?.into_json()?)
    }

    fn run(
        &self,
        dispatch: Dispatch,
        mut see: impl FnMut(&View) -> anyhow::Result<Seen>,
    ) -> anyhow::Result<Vec<String>> {
        let mut failures = Vec::new();
        for case in &self.requests {
            let view = case.view().with_context(|| case.about.clone())?;
            let seen = see(&view).with_context(|| case.about.clone())?;
            let expected = case.expected(&view, dispatch).with_context(|| case.about.clone())?;
            if seen != expected {
                let about = &case.about;
                failures.push(format!("{about}:\n  expected {expected:?}\n  but saw  {seen:?}"));
            }
        }
        Ok(failures)
    }
}

impl Case {
    fn view(&self) -> anyhow::Result<View> {
        let (service, port) = self.destination()?;
        let cluster = format!("outbound|{port}||{service}.svc.cluster.local");
        let host = format!("{service}.svc.cluster.local:{port}");
        let own = [(":authority", service), (":path", "/")];
        let own = own.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let mut headers: Vec<_> = own.into();
        for line in &self.headers {
            let (name, value) = header(line)?;
            // A pseudo-header of the case takes the place of ours.
            headers.retain(|(other, _)| !name.starts_with(':') || *other != name);
            headers.push((name, value));
        }
        Ok(View {
            headers,
            cluster_name: self.cluster.clone().unwrap_or(Some(cluster)).map(String::into_bytes),
            virtual_host_name: Some(self.virtual_host.clone().unwrap_or(host).into_bytes()),
        })
    }

    fn destination(&self) -> anyhow::Result<(&str, u16)> {
        split_port(&self.to)
            .with_context(|| format!("`{}` is no `service.namespace:port`", self.to))
    }

    fn says_no_more_than_to(&self) -> bool {
        self.cluster.is_none() && self.virtual_host.is_none()
    }

    fn expected(&self, view: &View, dispatch: Dispatch) -> anyhow::Result<Seen> {
        let mut headers = view.headers.clone();
        headers.retain(|(name, _)| Some(name.as_str()) != dispatch.owned_header());
        let status = match self.expect.as_str() {
            "baseline" => None,
            "503" => Some(503),
            target => {
                let (name, port) = split_port(target)
                    .with_context(|| format!("`{target}` is no `service.namespace:port`"))?;
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
        for line in &self.expect_headers {
            let (name, value) = header(line)?;
            set(&mut headers, &name, value);
        }
        headers.sort();
        Ok(Seen { headers, status, reason: self.reason.clone() })
    }
}

fn decide_natively(table: &Table, view: &View) -> Seen {
    let decision = decide(table, view);
    let effect = decision.effect();
    let mut headers = view.headers.clone();
    if let Some(baggage) = effect.baggage {
        set(&mut headers, "baggage", baggage);
    }
    match effect.dispatch {
        Some(HeaderEdit::Remove(name)) => headers.retain(|(other, _)| other != name),
        Some(HeaderEdit::Set(name, value)) => set(&mut headers, name, value.into_bytes()),
        None => {}
    }
    headers.sort();
    let status = effect.response.map(|response| u32::from(response.status));
    Seen { headers, status, reason: decision.reason.label().into() }
}

fn decide_in(proxy: &mut Proxy, view: &View) -> anyhow::Result<Seen> {
    let worker = proxy.worker()?;
    let counters: Vec<String> = worker
        .metrics()
        .filter(|name| name.starts_with("skycap_requests_total."))
        .map(str::to_owned)
        .collect();
    let before: Vec<u64> = counters.iter().map(|name| worker.metric(name)).collect();
    let outcome = worker.request(view)?;
    worker.tick()?;
    let grown = counters.iter().zip(before).filter(|(name, before)| worker.metric(name) > *before);
    let [(counter, _)] = grown.collect::<Vec<_>>()[..] else {
        bail!("a request must count as one outcome");
    };
    let reason = counter.rsplit("=.=").next().and_then(|label| label.strip_suffix(";.;"));
    let mut headers = outcome.headers;
    headers.sort();
    let status = outcome.response.map(|response| response.status);
    Ok(Seen { headers, status, reason: reason.unwrap_or_default().into() })
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        self.status.map_or(Ok(()), |status| write!(f, " {status}"))?;
        let mut headers = self.headers.iter();
        headers.try_for_each(|(name, value)| write!(f, " {name}: `{}`", value.escape_ascii()))
    }
}

impl Request for View {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let lines = self.headers.iter().filter(|(other, _)| other == name);
        let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
        let separator: &[u8] = if name == "cookie" { b"; " } else { b"," };
        (!lines.is_empty()).then(|| lines.join(separator).into())
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other == name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.cluster_name.clone()
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        self.virtual_host_name.clone()
    }
}

/// Leaves one line of a header, where the first one was.
fn set(headers: &mut Vec<(String, Vec<u8>)>, name: &str, value: Vec<u8>) {
    headers.retain(|(other, _)| other != name);
    headers.push((name.into(), value));
}

/// `name: value`, the name in lower case as Envoy keeps it, `\xNN` in the value as a byte.
fn header(line: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let colon = line.get(1..).and_then(|rest| rest.find(':')).context("a header without `:`")?;
    let (name, value) = line.split_at(colon + 1);
    let mut bytes = Vec::new();
    let mut rest = value.trim_start_matches(':').trim_start_matches(' ');
    while let Some(escape) = rest.find("\\x") {
        let (before, escaped) = rest.split_at(escape);
        let digits = escaped.get(2..4).context("`\\x` wants two digits")?;
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(digits, 16)?);
        rest = escaped.get(4..).unwrap_or_default();
    }
    bytes.extend(rest.as_bytes());
    Ok((name.to_lowercase(), bytes))
}

fn split_port(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    Some((name, port.parse().ok()?))
}

fn read(path: &Path) -> anyhow::Result<Scenario> {
    let text = fs::read_to_string(path)?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Tells a `null` from a field that is not there.
fn some<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

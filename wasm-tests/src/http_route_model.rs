//! How a mesh of the Gateway API picks a rule: a model, since neither Linkerd's proxy nor its
//! policy controller can be had from a package registry. Each law has its source.
//!
//! GW = kubernetes-sigs/gateway-api@4564255a, LP = linkerd/linkerd2-proxy@29637b64, IS =
//! istio/istio@86c9f01f; what is marked "seen" was seen on Linkerd's own controller and proxy.

use std::{cell::RefCell, cmp::Reverse, collections::HashMap};

use anyhow::{Context as _, ensure};
use regex::Regex;
use serde_json::Value;
use skycap::objects::Object;

use crate::host::View;

/// Whose semantics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mesh {
    /// The Gateway API's, as Istio has them.
    GatewayApi,
    /// Those of Linkerd's proxy.
    Linkerd,
}

/// An HTTPRoute that is accepted.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its age: less is older.
    pub created: u32,
    /// Its name; all are of one namespace.
    pub name: String,
    /// Its rules.
    pub rules: Vec<Value>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// No route is there: the Service as it is.
    Service,
    /// Routes are there, and none matches: 404 (GW: `httproute_types.go`, `Matches`; LP:
    /// `app/outbound/src/http/server.rs`).
    NotFound,
    /// A rule: its filters, and its backends.
    Rule {
        /// `filters`, or null.
        filters: Value,
        /// `name.namespace:port` of each.
        backends: Vec<String>,
    },
}

impl Mesh {
    /// What becomes of a request to the Service that these routes are for.
    ///
    /// # Errors
    /// When a rule has a regular expression that is none.
    pub fn answer(self, routes: &[Route], request: &View) -> anyhow::Result<Answer> {
        if routes.is_empty() {
            return Ok(Answer::Service);
        }
        let mut best: Option<(Rank<'_>, &Value)> = None;
        for route in routes {
            for (place, rule) in route.rules.iter().enumerate() {
                for one in rule["matches"].as_array().into_iter().flatten() {
                    let Some(score) = self.score(one, request)? else { continue };
                    // Ties: the oldest route, then by name, then the first rule (GW: the same
                    // place; seen on Linkerd; IS: `sortHTTPRoutes` is stable).
                    let rank = (score, Reverse((route.created, route.name.as_str(), place)));
                    if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                        best = Some((rank, rule));
                    }
                }
            }
        }
        Ok(best.map_or(Answer::NotFound, |(_, rule)| Answer::of(rule)))
    }

    /// How high a match ranks, if it matches.
    ///
    /// GW: "exact path, longest prefix, method, most headers, most query parameters". LP
    /// (`linkerd/http/route/src/http/match.rs`, `RequestMatch::cmp`): path length, headers, query,
    /// method; a regular expression counts the length of the whole path.
    fn score(self, one: &Value, request: &View) -> anyhow::Result<Option<Score>> {
        let (path, query) = request.target();
        let (kind, value) =
            (one["path"]["type"].as_str(), one["path"]["value"].as_str().unwrap_or("/"));
        let Some((exact, length)) = (match kind.unwrap_or("PathPrefix") {
            "Exact" => (path == value).then_some((2, path.len())),
            "RegularExpression" => spans(value, &path)?.then_some((0, path.len())),
            _ => is_prefix(value, &path).then(|| (1, value.trim_end_matches('/').len().max(1))),
        }) else {
            return Ok(None);
        };
        let method = match one["method"].as_str() {
            Some(method) if method != request.method() => return Ok(None),
            asked => usize::from(asked.is_some()),
        };
        let asked = |field: &str| one[field].as_array().cloned().unwrap_or_default();
        for header in asked("headers") {
            if !self.matches_header(&header, request)? {
                return Ok(None);
            }
        }
        for parameter in asked("queryParams") {
            let name = parameter["name"].as_str().unwrap_or_default();
            let found =
                query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
            if found != parameter["value"].as_str() {
                return Ok(None);
            }
        }
        let (headers, parameters) = (asked("headers").len(), asked("queryParams").len());
        Ok(Some(match self {
            Self::GatewayApi => [exact, length, method, headers, parameters],
            Self::Linkerd => [length, headers, parameters, method, 0],
        }))
    }

    /// Istio's Envoys join a header's lines by commas and match the whole (Envoy:
    /// `HttpRequestHeaderMatchInput`); Linkerd tries each line, passes over those that are not
    /// visible ASCII, and wants the leftmost-first match to span the line (LP:
    /// `linkerd/http/route/src/http/match/header.rs`).
    fn matches_header(self, header: &Value, request: &View) -> anyhow::Result<bool> {
        let name = header["name"].as_str().unwrap_or_default().to_lowercase();
        let value = header["value"].as_str().unwrap_or_default();
        let mut lines = request.lines(&name);
        if self == Self::GatewayApi && !lines.is_empty() {
            lines = vec![lines.join(&b","[..])];
        }
        for line in lines {
            let is_regex = header["type"] == "RegularExpression";
            let visible = |byte: &u8| (0x20..0x7f).contains(byte) || *byte == b'\t';
            let found = match std::str::from_utf8(&line) {
                Ok(text) if is_regex && (self == Self::GatewayApi || line.iter().all(visible)) => {
                    spans(value, text)?
                }
                Ok(text) => !is_regex && text == value,
                Err(_) => false,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

type Score = [usize; 5];
type Rank<'a> = (Score, Reverse<(u32, &'a str, usize)>);

impl Answer {
    fn of(rule: &Value) -> Self {
        let text =
            |backend: &Value, field: &str| backend[field].as_str().unwrap_or_default().to_owned();
        let backends = rule["backendRefs"].as_array().into_iter().flatten().map(|backend| {
            let (name, namespace) = (text(backend, "name"), text(backend, "namespace"));
            format!("{name}.{namespace}:{}", backend["port"])
        });
        Self::Rule { filters: rule["filters"].clone(), backends: backends.collect() }
    }
}

impl Route {
    /// The HTTPRoutes of a port among what skycap wrote, all of this age.
    ///
    /// # Errors
    /// When one breaks a limit of the CRDs: 16 rules, 8 matches a rule (before 1.2), fewer than 128
    /// in all, 4,096 characters a value (GW: `httproute_types.go` of each version).
    pub fn of(
        objects: &[Object],
        service: &str,
        port: u16,
        created: u32,
    ) -> anyhow::Result<Vec<Self>> {
        let mut routes = Vec::new();
        for object in objects {
            let value = serde_json::to_value(object)?;
            let parent = &value["spec"]["parentRefs"][0];
            let of = format!(
                "{}.{}",
                parent["name"].as_str().unwrap_or_default(),
                parent["namespace"].as_str().unwrap_or_default()
            );
            let rules = value["spec"]["rules"].as_array().context("a route without rules")?.clone();
            ensure!(rules.len() <= 16, "{} rules", rules.len());
            let matches = rules.iter().map(|rule| rule["matches"].as_array().map_or(0, Vec::len));
            ensure!(
                matches.clone().all(|count| (1..=8).contains(&count)),
                "too many matches in a rule"
            );
            ensure!(matches.sum::<usize>() < 128, "too many matches");
            if of == service && (parent["port"].is_null() || parent["port"] == port) {
                routes.push(Self { created, name: object.reference().name, rules });
            }
        }
        Ok(routes)
    }
}

impl View {
    fn lines(&self, name: &str) -> Vec<Vec<u8>> {
        let lines = self.headers.iter().filter(|(other, _)| other == name);
        lines.map(|(_, value)| value.clone()).collect()
    }

    fn method(&self) -> String {
        let method = self.lines(":method").pop().unwrap_or_else(|| b"GET".to_vec());
        String::from_utf8_lossy(&method).into_owned()
    }

    /// Path, and the query's names and values.
    fn target(&self) -> (String, Vec<(String, String)>) {
        let target = self.lines(":path").pop().unwrap_or_else(|| b"/".to_vec());
        let target = String::from_utf8_lossy(&target).into_owned();
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        (path.to_owned(), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// By whole elements (GW: `PathMatchPathPrefix`).
fn is_prefix(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn spans(expression: &str, text: &str) -> anyhow::Result<bool> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if !compiled.contains_key(expression) {
            compiled.insert(expression.to_owned(), Regex::new(expression)?);
        }
        let found = compiled.get(expression).and_then(|expression| expression.find(text));
        Ok(found.is_some_and(|found| found.range() == (0..text.len())))
    })
}

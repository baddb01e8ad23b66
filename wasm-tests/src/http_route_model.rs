//! A model of how a mesh of the Gateway API ranks HTTPRoutes and picks a rule.
//!
//! No test here runs Linkerd: neither its proxy nor its policy controller is in a package registry.
//! The tests run this model instead. Two things back it:
//! - Each law names its source: GW = kubernetes-sigs/gateway-api@4564255a, LP =
//!   linkerd/linkerd2-proxy@29637b64, IS = istio/istio@86c9f01f.
//! - Linkerd itself was observed by hand: HTTPRoutes went through a kube-apiserver 1.37, with the CRDs
//!   of Gateway API 1.6, to Linkerd's policy controller and proxy of August 2026. Laws that were
//!   observed there are marked "observed". On 2026-11-24, at commit b1da13d, skycap's own output for
//!   14 worlds (other people's routes, ports, groups, `extends`, `fail`) was accepted by Linkerd's
//!   webhook and matched by its proxy as intended, in all of 358 checks.

use std::{cell::RefCell, cmp::Reverse, collections::HashMap};

use anyhow::{Context as _, ensure};
use regex::Regex;
use serde_json::Value;
use skycap::objects::Object;

use crate::host::View;

/// How matches are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpRouteModel {
    /// As the Gateway API says, and Istio does.
    GatewayApi,
    /// As Linkerd's proxy does.
    Linkerd,
}

/// An HTTPRoute that the mesh has accepted.
#[derive(Debug, Clone)]
pub struct Route {
    /// When it was created. A lower number is older.
    pub created: u32,
    /// Its name. All routes are in one namespace.
    pub name: String,
    /// Its rules.
    pub rules: Vec<Value>,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The Service has no route: the request goes to the Service itself.
    Service,
    /// The Service has routes, and none matches: 404 (GW: `httproute_types.go`, `Matches`; LP:
    /// `app/outbound/src/http/server.rs`).
    NotFound,
    /// A rule applies.
    Rule {
        /// The rule's `filters`, or null.
        filters: Value,
        /// The rule's backends, each as `name.namespace:port`.
        backends: Vec<String>,
    },
}

impl HttpRouteModel {
    /// The result of a request to the Service that has these routes.
    ///
    /// # Errors
    /// If a rule has an invalid regular expression.
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
                    // place; IS: `sortHTTPRoutes` is stable; the age was observed on Linkerd).
                    let rank = (score, Reverse((route.created, route.name.as_str(), place)));
                    if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                        best = Some((rank, rule));
                    }
                }
            }
        }
        Ok(best.map_or(Answer::NotFound, |(_, rule)| Answer::of(rule)))
    }

    /// The rank of a match, if it matches.
    ///
    /// GW: "exact path, longest prefix, method, most headers, most query parameters". LP
    /// (`linkerd/http/route/src/http/match.rs`, `RequestMatch::cmp`): path length, headers, query,
    /// method; a regular expression counts as the length of the whole path. The order of path, headers
    /// and method was observed on Linkerd.
    fn score(self, one: &Value, request: &View) -> anyhow::Result<Option<Score>> {
        let (path, query) = request.target();
        let Some((exact, length)) = path_score(&one["path"], &path)? else { return Ok(None) };
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

    /// Istio's Envoys join the lines of a header with commas and match the whole (Envoy:
    /// `HttpRequestHeaderMatchInput`). Linkerd tries each line on its own, skips lines that are not
    /// visible ASCII, and requires that the leftmost-first match spans the line (LP:
    /// `linkerd/http/route/src/http/match/header.rs`; observed).
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
    /// The HTTPRoutes of one port, out of the objects that skycap wrote. All get the age `created`.
    ///
    /// # Errors
    /// If one exceeds a limit of the CRDs: 16 rules, 8 matches for each rule (before 1.2), fewer than
    /// 128 matches in total (GW: `httproute_types.go` of each version).
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
            ensure!(rules.len() <= 16, "a route has {} rules, more than 16", rules.len());
            let matches = rules.iter().map(|rule| rule["matches"].as_array().map_or(0, Vec::len));
            ensure!(
                matches.clone().all(|count| (1..=8).contains(&count)),
                "a rule does not have 1 to 8 matches"
            );
            ensure!(matches.sum::<usize>() < 128, "a route has 128 matches or more");
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

    /// The path, and the names and values of the query.
    fn target(&self) -> (String, Vec<(String, String)>) {
        let target = self.lines(":path").pop().unwrap_or_else(|| b"/".to_vec());
        let target = String::from_utf8_lossy(&target).into_owned();
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        (path.to_owned(), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// The kind of a path match, by its precedence, and its length; `None` if it does not match.
fn path_score(one: &Value, path: &str) -> anyhow::Result<Option<(usize, usize)>> {
    let value = one["value"].as_str().unwrap_or("/");
    Ok(match one["type"].as_str().unwrap_or("PathPrefix") {
        "Exact" => (path == value).then_some((2, path.len())),
        "RegularExpression" => spans(value, path)?.then_some((0, path.len())),
        _ => is_prefix(value, path).then(|| (1, value.trim_end_matches('/').len().max(1))),
    })
}

/// Compares whole path elements (GW: `PathMatchPathPrefix`).
fn is_prefix(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the leftmost-first match of the expression is the whole text.
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

//! One request: passes it to the core, and applies the effect of the decision in Envoy.

use std::{borrow::Cow, cell::Cell};

use skycap_core::{
    decision::{Decision, decide},
    decision_header::{DECISION_HEADER, DecisionHeader},
    dispatch::CLUSTER_HEADER,
    edge::EDGE_CLOSED,
    effect::{CarrierEdit, Effect, HeaderEdit, LocalResponse},
    explain::{EXPLAIN_HEADER, Explain},
    reason::{Drops, Reason},
    request::Request,
};

use crate::{
    host::{self, Headers, LogLevel},
    root::Root,
};

/// Decides a request and applies the effect. Returns a status of the ABI.
pub(crate) fn on_request(root: &mut Root, stream: u32) -> u32 {
    let expects_lists = Cell::new(root.expects_lists);
    let request = EnvoyRequest { expects_lists: &expects_lists };
    let Some(table) = root.table() else {
        let forged = request.has_header(CLUSTER_HEADER);
        let mut drops = Drops::NONE;
        if forged {
            drops.add(Reason::ForgedDispatch);
        }
        let mut reason = Reason::NoTable;
        let status = apply(&Effect::without_table(forged), &mut reason, &mut drops);
        root.metrics.count(reason, drops);
        return status;
    };
    let mut decision = decide(&table, &request);
    root.expects_lists = expects_lists.get();
    decision.explained = is_explained(&table.config().explain);
    if table.is_gateway() {
        pass_gateway(&mut decision, &request);
    }
    let status = apply(&decision.effect(), &mut decision.reason, &mut decision.drops);
    root.metrics.count(decision.reason, decision.drops);
    explain(root, stream, &decision);
    status
}

/// Adds the decision header to the response, if the request asked for it.
pub(crate) fn on_response(root: &mut Root, stream: u32) -> u32 {
    if let Some(decision) = root.recall(stream) {
        // Added and not replaced: the hops behind this one have already added their lines.
        host::add_header(Headers::Response, DECISION_HEADER, decision.as_bytes());
    }
    CONTINUE
}

/// Whether the request asks for an explanation, and may. A token is removed, so that no service
/// behind this proxy learns it.
fn is_explained(allowed: &Explain) -> bool {
    // Saves the host call while explain is off.
    if allowed.is_off() {
        return false;
    }
    let Some(value) = host::first_line(Headers::Request, EXPLAIN_HEADER) else { return false };
    if allowed.is_secret() {
        host::remove_header(Headers::Request, EXPLAIN_HEADER);
    }
    allowed.allows(&value)
}

/// Logs the decision at level debug, and keeps it for the response if the request asked for it.
fn explain(root: &mut Root, stream: u32, decision: &Decision<'_>) {
    if root.logs_debug {
        host::log(LogLevel::Debug, &format!("skycap: {}", DecisionHeader(decision)));
    }
    if decision.explained {
        root.remember(stream, DecisionHeader(decision).to_string());
    }
}

/// Applies an effect. What Envoy does not accept changes the outcome, or adds a drop: a request that
/// was not routed must not count as routed.
fn apply(effect: &Effect, reason: &mut Reason, drops: &mut Drops) -> u32 {
    let Effect { dispatch, baggage, response } = effect;
    if let Some(baggage) = baggage
        && !host::set_header(Headers::Request, "baggage", baggage)
    {
        drops.add(Reason::InjectionNotApplied);
    }
    match dispatch {
        Some(HeaderEdit::Remove(name)) => {
            // Envoy removes it by itself too, so a failure here changes no route.
            host::remove_header(Headers::Request, name);
        }
        Some(HeaderEdit::Set(name, value))
            if !host::set_header(Headers::Request, name, value.as_bytes()) =>
        {
            *reason = Reason::NotApplied;
        }
        Some(HeaderEdit::Set(..)) | None => {}
    }
    match response {
        Some(response) if respond(response) => STOP_ITERATION,
        Some(_) => {
            *reason = Reason::NotApplied;
            CONTINUE
        }
        None => CONTINUE,
    }
}

/// Applies the edits of an edge, and tells Envoy that the request has passed here. Without this word,
/// for whatever reason, Envoy's own filter behind this one removes the carriers that may hold a key.
#[cold]
fn pass_gateway(decision: &mut Decision<'_>, request: &EnvoyRequest<'_>) {
    let edits = decision.edge_edits(request);
    let applied = edits.iter().all(|CarrierEdit { header, value }| match value {
        Some(value) => host::set_header(Headers::Request, header, value),
        None => host::remove_header(Headers::Request, header),
    });
    if applied {
        host::set_property(EDGE_CLOSED, b"1");
    } else {
        decision.drops.add(Reason::InjectionNotApplied);
    }
}

fn respond(response: &LocalResponse) -> bool {
    let LocalResponse { status, headers, body } = response;
    let number = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
    let mut map = number(headers.len()).to_vec();
    for (name, value) in headers {
        map.extend([number(name.len()), number(value.len())].as_flattened());
    }
    for (name, value) in headers {
        map.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    host::respond(*status, &map, body)
}

/// The current request, read through host calls.
struct EnvoyRequest<'a> {
    /// Whether the last header that was read as a list was present.
    expects_lists: &'a Cell<bool>,
}

impl Request for EnvoyRequest<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if name.starts_with(':') {
            return host::first_line(Headers::Request, name).map(Cow::from);
        }
        let lines = self.lines(name);
        self.expects_lists.set(lines.is_some());
        if name == "cookie" && lines.as_ref().is_some_and(|lines| lines.contains(&b',')) {
            // A comma may separate two lines, or be part of a value. The joined text does not show
            // which, so the lines are read one by one.
            return host::all_headers(Headers::Request).map(|map| cookies(&map).into());
        }
        lines.map(Cow::from)
    }

    fn has_header(&self, name: &str) -> bool {
        host::first_line(Headers::Request, name).is_some()
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        host::property("xds\0cluster_name")
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        host::property("xds\0virtual_host_name")
    }
}

impl EnvoyRequest<'_> {
    /// Returns all lines of a header, joined by `,`.
    ///
    /// There are two host calls for this. The cheap one returns only the first line, the expensive
    /// one returns all lines. If the header is absent, the cheap call alone costs least. If it is
    /// present, the expensive call alone costs least. Most requests resemble the previous one, so
    /// the previous request determines which call is made first.
    fn lines(&self, name: &str) -> Option<Vec<u8>> {
        let all = || match name {
            // By far the most frequent header, so its path is not built at run time.
            "baggage" => host::property("request\0headers\0baggage"),
            _ => host::property(&["request\0headers\0", name].concat()),
        };
        let first = || host::first_line(Headers::Request, name);
        if self.expects_lists.get() {
            all().or_else(first)
        } else {
            first().map(|first| all().unwrap_or(first))
        }
    }
}

/// Returns all `cookie` lines of a map in the ABI's format, joined by `;`.
fn cookies(map: &[u8]) -> Vec<u8> {
    let (numbers, _) = map.as_chunks::<4>();
    let mut numbers =
        numbers.iter().filter_map(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok());
    let count = numbers.next().unwrap_or(0);
    let lengths = numbers.take(count.saturating_mul(2));
    let mut rest = map.get(count.saturating_mul(8).saturating_add(4)..).unwrap_or_default();
    let mut texts = lengths.map_while(|length| {
        let (text, behind) = rest.split_at_checked(length)?;
        rest = behind.get(1..)?;
        Some(text)
    });
    let mut lines = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        if name.eq_ignore_ascii_case(b"cookie") {
            lines.push(value);
        }
    }
    lines.join(&b';')
}

/// `Continue` of the ABI's `proxy_action_t`: Envoy continues with the request or response.
const CONTINUE: u32 = 0;

/// `Pause` of the ABI's `proxy_action_t`, in Envoy `StopIteration`: the filter has sent a response,
/// and the request goes no further.
const STOP_ITERATION: u32 = 1;

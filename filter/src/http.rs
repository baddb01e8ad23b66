//! One request: its view goes into the core, the core's plan goes out to Envoy.

use std::{borrow::Cow, cell::Cell};

use skycap_core::{
    decision::{Decision, decide},
    dispatch::{CLUSTER_HEADER, DECISION_HEADER, EXPLAIN_HEADER, Explain},
    explain::Explanation,
    plan::{HeaderEdit, LocalResponse, Plan},
    reason::{Drops, Reason},
    request::Request,
};

use crate::{
    host::{self, Headers, LogLevel},
    root::Root,
};

/// Decides a request and applies the plan.
pub(crate) fn on_request(root: &mut Root, stream: u32) -> u32 {
    let expects_lists = Cell::new(root.expects_lists);
    let request = EnvoyRequest { expects_lists: &expects_lists };
    let Some(table) = root.table() else {
        let forged = request.has_header(CLUSTER_HEADER);
        let mut drops = Drops::NONE;
        if forged {
            drops.add(Reason::ForgedDispatch);
        }
        root.metrics.count(Reason::NoTable, drops);
        return apply(&Plan::without_table(forged));
    };
    let decision = decide(&table, &request);
    root.expects_lists = expects_lists.get();
    root.metrics.count(decision.reason, decision.drops);
    explain(root, stream, &decision, &table.config().explain);
    apply(&decision.plan())
}

/// Adds the decision to the response of a request that asked for it.
pub(crate) fn on_response(root: &mut Root, stream: u32) -> u32 {
    if let Some(decision) = root.recall(stream) {
        // A line more, and not one line less: the hops behind this one have added theirs.
        host::add_header(Headers::Response, DECISION_HEADER, decision.as_bytes());
    }
    CONTINUE
}

fn explain(root: &mut Root, stream: u32, decision: &Decision<'_>, allowed: &Explain) {
    if root.logs_debug {
        host::log(LogLevel::Debug, &format!("skycap: {}", Explanation(decision)));
    }
    // Where nobody may ask, the request is not even looked at.
    if !allowed.is_off()
        && host::first_line(Headers::Request, EXPLAIN_HEADER)
            .is_some_and(|value| allowed.allows(&value))
    {
        root.remember(stream, Explanation(decision).to_string());
    }
}

fn apply(plan: &Plan) -> u32 {
    let Plan { dispatch, baggage, response } = plan;
    if let Some(baggage) = baggage {
        host::set_header(Headers::Request, "baggage", baggage);
    }
    match dispatch {
        Some(HeaderEdit::Remove(name)) => {
            host::remove_header(Headers::Request, name);
        }
        Some(HeaderEdit::Set(name, value)) => {
            host::set_header(Headers::Request, name, value.as_bytes());
        }
        None => {}
    }
    match response {
        Some(response) if respond(response) => ANSWERED,
        _ => CONTINUE,
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

/// The request at hand, seen through host calls.
struct EnvoyRequest<'a> {
    /// Whether the last list that was asked for was there.
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
            // A comma may part two lines or stand in a value: only the lines themselves tell.
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
    /// All lines of a header, joined by `,`.
    ///
    /// The cheap call tells the first line only, the dear one all of them. A header that is not
    /// there costs least by the cheap call, one that is there by the dear one alone. A request is
    /// most often like the one before it, so that one tells which to make first.
    fn lines(&self, name: &str) -> Option<Vec<u8>> {
        let all = || match name {
            // The most frequent by far, and so without a string to put together.
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

/// All cookie lines of a serialised map, joined by `;`.
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

const CONTINUE: u32 = 0;
/// `StopIteration`: the answer has been given, the request goes no further.
const ANSWERED: u32 = 1;

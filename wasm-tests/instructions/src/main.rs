//! Decides one kind of request many times.
//!
//! The tier `instructions` of `cargo suite` runs it under valgrind, to count the instructions of
//! one decision.

#![forbid(unsafe_code)]

use std::{borrow::Cow, hint::black_box, process::ExitCode};

use skycap_core::{
    decision::decide,
    request::Request,
    table::{Seed, Table},
};

struct Baggage(Option<Vec<u8>>);

impl Request for Baggage {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.as_deref().filter(|_| name == "baggage").map(Cow::Borrowed)
    }

    fn has_header(&self, _: &str) -> bool {
        false
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        None
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, kind, rows, times] = &args[..] else { return usage() };
    let foreign = || {
        let members: Vec<_> =
            (0..8).map(|n| format!("member-number-{n}={}", "v".repeat(34))).collect();
        members.join(",").into_bytes()
    };
    let baggage = match kind.as_str() {
        "none" => None,
        "foreign" => Some(foreign()),
        "unknown" => Some(b"sandbox=nobody".to_vec()),
        "routed" => Some(b"sandbox=pr-7".to_vec()),
        _ => return usage(),
    };
    let (Ok(rows), Ok(times)) = (rows.parse::<usize>(), times.parse::<usize>()) else {
        return usage();
    };
    let keys: Vec<_> = (0..rows).map(|row| format!("pr-{row}:0")).collect();
    let json = format!(
        "{{\"version\":\"1.0\",\"routes\":[{{\"service\":\"cart.shop\",\"to\":\"cart-{{key}}\"}}],\
         \"keys\":\"{}\"}}",
        keys.join(" ")
    );
    let Ok(table) = Table::from_json(json.as_bytes(), Seed::new([1, 2])) else {
        return ExitCode::FAILURE;
    };
    let request = Baggage(baggage);
    for _ in 0..times {
        black_box(decide(&table, black_box(&request)).effect());
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: skycap-instructions none|foreign|unknown|routed ROWS TIMES");
    ExitCode::from(2)
}

//! A canary's verdict is a function of what its sidecar and another one report, look by look.

use std::time::Duration;

use skycap::{
    module::verdict::{Limits, Trial, Verdict},
    observed::sidecars::{ProxyMetrics, Sidecars},
};

/// A sidecar of two VMs, `second` seconds into a trial, that was asked ten times a second.
fn healthy(second: u32) -> ProxyMetrics {
    let second = f64::from(second);
    ProxyMetrics {
        generation: Some(7),
        vms: 2.0,
        threads: 1.0,
        lived: second * 2.0,
        decided: PAST + second * 10.0,
        requests: PAST + second * 10.0,
        milliseconds: (PAST + second * 10.0, PAST + second * 10.0),
        ..ProxyMetrics::default()
    }
}

/// Before the trial, the module that it replaces.
fn before() -> ProxyMetrics {
    ProxyMetrics { vms: 0.0, lived: 0.0, ..healthy(0) }
}

fn sidecars(report: ProxyMetrics) -> Sidecars {
    Sidecars { reports: [("shop/cart-1".to_owned(), Ok(report))].into(), total: 1 }
}

/// The verdict on a sidecar that is looked at every two seconds, for a minute.
fn verdict(report: impl Fn(u32) -> ProxyMetrics, other: impl Fn(u32) -> ProxyMetrics) -> Verdict {
    let limits = Limits {
        start: Duration::from_secs(10),
        window: Duration::from_secs(40),
        ..Limits::default()
    };
    let mut trial = Trial::new(limits, &sidecars(before()), &sidecars(other(0)));
    let mut verdict = Verdict::Wait(String::new());
    for second in (2..60).step_by(2) {
        let elapsed = Duration::from_secs(second.into());
        verdict = trial.observe(elapsed, &sidecars(report(second)), &sidecars(other(second)));
        if !matches!(verdict, Verdict::Wait(_)) {
            break;
        }
    }
    verdict
}

#[test]
fn each_fault_is_seen_and_nothing_else() {
    let slow = |second: u32, by: f64| {
        let report = healthy(second);
        let (sum, count) = report.milliseconds;
        ProxyMetrics { milliseconds: (sum + f64::from(second) * 10.0 * by, count), ..report }
    };
    let failing = |second: u32, share: f64| ProxyMetrics {
        errors: f64::from(second) * 10.0 * share,
        ..healthy(second)
    };
    type Reports = Box<dyn Fn(u32) -> ProxyMetrics>;
    let cases: [(&str, Reports, Reports, &str); 13] = [
        ("all is well", Box::new(healthy), Box::new(healthy), ""),
        (
            "its proxy is restarted in the middle",
            Box::new(|second| healthy(if second < 20 { second } else { second - 20 })),
            Box::new(healthy),
            "",
        ),
        (
            "it is silent for a moment",
            Box::new(|second| if (20..26).contains(&second) { before() } else { healthy(second) }),
            Box::new(healthy),
            "",
        ),
        ("it never runs", Box::new(|_| before()), Box::new(healthy), "runs in 0 of 1"),
        (
            "it cannot be fetched",
            Box::new(|_| ProxyMetrics { fetch_failures: 1.0, ..before() }),
            Box::new(healthy),
            "cannot get it",
        ),
        (
            "it refuses the table",
            Box::new(|second| ProxyMetrics { refused: 1.0, ..healthy(second) }),
            Box::new(healthy),
            "refuses the table",
        ),
        (
            "one of two VMs traps after ten seconds, and nobody asks",
            Box::new(|second| {
                let lived = f64::from(second + second.min(10));
                ProxyMetrics { lived, requests: PAST, decided: PAST, ..healthy(second) }
            }),
            Box::new(healthy),
            "a VM of the module has stopped",
        ),
        (
            "it decides nothing any more",
            Box::new(|second| ProxyMetrics { decided: PAST + 20.0, ..healthy(second) }),
            Box::new(healthy),
            "and the module saw",
        ),
        ("failures", Box::new(move |s| failing(s, 0.05)), Box::new(healthy), "got a 5xx"),
        (
            "failures, as everywhere",
            Box::new(move |s| failing(s, 0.05)),
            Box::new(move |s| failing(s, 0.05)),
            "",
        ),
        ("slow", Box::new(move |s| slow(s, 10.0)), Box::new(healthy), "ms in the mean"),
        (
            "slow, as everywhere",
            Box::new(move |s| slow(s, 10.0)),
            Box::new(move |s| slow(s, 10.0)),
            "",
        ),
        (
            "nobody asks",
            Box::new(|second| ProxyMetrics { requests: PAST, decided: PAST, ..healthy(second) }),
            Box::new(healthy),
            "nothing was judged",
        ),
    ];
    for (about, report, other, wanted) in cases {
        let is_right = match verdict(report, other) {
            Verdict::Promote(_) => wanted.is_empty(),
            Verdict::BackOut(why) => !wanted.is_empty() && why.contains(wanted),
            Verdict::Wait(_) => false,
        };
        assert!(is_right, "{about}: expected `{wanted}`");
    }
}

const PAST: f64 = 1_000.0;

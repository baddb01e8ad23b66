//! The verdict on a canary depends only on the metrics of its sidecar and of another one.

use std::{collections::BTreeMap, time::Duration};

use skycap::{
    module::verdict::{Defect, Limits, StartFailure, Trial, Verdict},
    observed::sidecars::{ProxyMetrics, Sidecars},
};

/// The metrics of a sidecar with two VMs, `second` seconds into a trial, at ten requests a second.
fn healthy(second: u32) -> ProxyMetrics {
    let second = f64::from(second);
    ProxyMetrics {
        generation: Some(7),
        vms: 2.0,
        workers: 1.0,
        vm_seconds: second * 2.0,
        decided: PAST + second * 10.0,
        outcomes: outcomes(PAST * 0.1 + second, PAST * 0.9 + second * 9.0),
        requests: PAST + second * 10.0,
        latency_ms_sum: PAST + second * 10.0,
        latency_ms_count: PAST + second * 10.0,
        ..ProxyMetrics::default()
    }
}

/// The metrics before the trial: the canary's module has not started.
fn before() -> ProxyMetrics {
    ProxyMetrics { vms: 0.0, vm_seconds: 0.0, ..healthy(0) }
}

/// One of ten requests is routed.
fn outcomes(routed: f64, no_key: f64) -> BTreeMap<String, f64> {
    [("routed".to_owned(), routed), ("no_key".to_owned(), no_key)].into()
}

/// From this second of the trial on, no request is routed.
fn routes_nothing_from(start: u32, second: u32) -> ProxyMetrics {
    let routed = f64::from(second.min(start));
    let outcomes = outcomes(PAST * 0.1 + routed, PAST * 0.9 + f64::from(second) * 10.0 - routed);
    ProxyMetrics { outcomes, ..healthy(second) }
}

fn without_requests(second: u32) -> ProxyMetrics {
    ProxyMetrics { requests: PAST, decided: PAST, outcomes: healthy(0).outcomes, ..healthy(second) }
}

/// A fraction of the requests gets a 5xx.
fn failing(second: u32, share: f64) -> ProxyMetrics {
    ProxyMetrics { errors: f64::from(second) * 10.0 * share, ..healthy(second) }
}

/// Requests take `more` milliseconds longer than before.
fn slow(second: u32, more: f64) -> ProxyMetrics {
    let metrics = healthy(second);
    let added = f64::from(second) * 10.0 * more;
    ProxyMetrics { latency_ms_sum: metrics.latency_ms_sum + added, ..metrics }
}

fn sidecars(metrics: ProxyMetrics) -> Sidecars {
    Sidecars { reports: [("shop/cart-1".to_owned(), Ok(metrics))].into(), total: 1 }
}

/// The metrics of a sidecar at a second of the trial.
type Metrics = fn(u32) -> ProxyMetrics;
type IsExpected = fn(&Defect) -> bool;

/// The verdict on a sidecar whose metrics are read every two seconds, for a minute.
fn verdict(canary: Metrics, other: Metrics) -> Option<Verdict> {
    let limits = Limits {
        start: Duration::from_secs(10),
        window: Duration::from_secs(40),
        ..Limits::default()
    };
    let mut trial = Trial::new(limits, &sidecars(before()), &sidecars(other(0)));
    (2..60).step_by(2).find_map(|second| {
        let elapsed = Duration::from_secs(second.into());
        let verdict = trial.observe(elapsed, &sidecars(canary(second)), &sidecars(other(second)));
        (!matches!(verdict, Verdict::Wait(..))).then_some(verdict)
    })
}

#[test]
fn a_healthy_canary_is_promoted() {
    let cases: [(&str, Metrics, Metrics); 6] = [
        ("healthy", healthy, healthy),
        (
            "its proxy restarts during the trial",
            |second| healthy(if second < 20 { second } else { second - 20 }),
            healthy,
        ),
        (
            "the module does not run for six seconds",
            |second| if (20..26).contains(&second) { before() } else { healthy(second) },
            healthy,
        ),
        ("as many failures as elsewhere", |s| failing(s, 0.05), |s| failing(s, 0.05)),
        (
            "the kill switch is used during the trial",
            |second| routes_nothing_from(8, second),
            |second| routes_nothing_from(9, second),
        ),
        ("as slow as elsewhere", |s| slow(s, 10.0), |s| slow(s, 10.0)),
    ];
    for (about, canary, other) in cases {
        let verdict = verdict(canary, other);
        assert!(matches!(verdict, Some(Verdict::Promote(_))), "{about}: {verdict:?}");
    }
}

#[test]
fn a_bad_canary_is_backed_out_with_its_defect() {
    for (about, canary, is_expected) in bad_canaries() {
        let verdict = verdict(canary, healthy);
        let is_right = matches!(&verdict, Some(Verdict::BackOut(d, _)) if is_expected(d));
        assert!(is_right, "{about}: {verdict:?}");
    }
}

/// Bad canaries, each with the defect that is found.
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_canaries() -> [(&'static str, Metrics, IsExpected); 11] {
    [
        (
            "it never runs",
            |_| before(),
            |defect| matches!(defect, Defect::NotRunning { failure: StartFailure::NotLoaded, .. }),
        ),
        (
            "it cannot be fetched",
            |_| ProxyMetrics { fetch_failures: 1.0, ..before() },
            |defect| matches!(defect, Defect::NotRunning { failure: StartFailure::NotFetched, .. }),
        ),
        (
            "it rejects the table",
            |second| ProxyMetrics { rejected_tables: 1.0, ..healthy(second) },
            |defect| matches!(defect, Defect::TableRejected { .. }),
        ),
        (
            "one of two VMs traps after ten seconds, without any requests",
            |second| {
                let vm_seconds = f64::from(second + second.min(10));
                ProxyMetrics { vm_seconds, ..without_requests(second) }
            },
            |defect| matches!(defect, Defect::VmStopped { .. }),
        ),
        (
            "it stops deciding requests",
            |second| ProxyMetrics { decided: PAST + 20.0, ..healthy(second) },
            |defect| matches!(defect, Defect::Bypassed { .. }),
        ),
        (
            "5 % of its requests fail",
            |second| failing(second, 0.05),
            |defect| matches!(defect, Defect::Errors { rate, before: 0.0, others: 0.0 } if (0.045..0.055).contains(rate)),
        ),
        (
            "it is slow",
            |second| slow(second, 10.0),
            |defect| matches!(defect, Defect::Latency { mean, before: 1.0 } if (10.9..11.1).contains(mean)),
        ),
        (
            "it routes nothing",
            |second| routes_nothing_from(0, second),
            |defect| matches!(defect, Defect::Outcome { outcome, share: 0.0, .. } if outcome == "routed"),
        ),
        (
            "it routes every request",
            |second| {
                let outcomes = outcomes(PAST * 0.1 + f64::from(second) * 10.0, PAST * 0.9);
                ProxyMetrics { outcomes, ..healthy(second) }
            },
            |defect| matches!(defect, Defect::Outcome { .. }),
        ),
        ("it has no requests", without_requests, |defect| *defect == Defect::NoTraffic),
        (
            "its sidecar does not count responses",
            |second| ProxyMetrics { requests: PAST, ..healthy(second) },
            |defect| matches!(defect, Defect::NoResponses { .. }),
        ),
    ]
}

#[test]
fn texts_show_the_figures() {
    let defect = Defect::Errors { rate: 0.872, before: 0.0, others: 0.0 };
    assert_eq!(defect.to_string(), "5xx rate 87.2 % (before: 0.0 %, other sidecars: 0.0 %)");
    let Some(Verdict::Promote(evidence)) = verdict(healthy, healthy) else {
        panic!("a healthy canary is promoted");
    };
    let text = evidence.to_string();
    assert!(text.contains("runs in 1 of 1 sidecars; 420 requests, 0 with a 5xx"), "{text}");
    assert!(text.contains("mean latency 1.0 ms"), "{text}");
}

/// The number of requests before the trial.
const PAST: f64 = 1_000.0;

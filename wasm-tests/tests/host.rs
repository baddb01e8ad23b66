//! The built module in the in-process host: what no Envoy can be asked to do.

use skycap_core::limits::PENDING_DECISIONS;
use skycap_tests::{
    host::{Host, Outcome, Proxy, View},
    module,
};

const TABLE: &str = r#"{"version":"1.0","explain":"on","carriers":[{"baggage":"sandbox"}],
    "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0"}"#;
const ROUTED: &str = "outbound|80||cart-pr-1.shop.svc.cluster.local";

fn wasm() -> anyhow::Result<Vec<u8>> {
    Ok(std::fs::read(module::build()?)?)
}

fn view(headers: &[(&str, &[u8])]) -> View {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    View {
        headers: headers.collect(),
        cluster_name: Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec()),
        virtual_host_name: Some(b"cart.shop.svc.cluster.local:80".to_vec()),
    }
}

fn value<'a>(outcome: &'a Outcome, name: &str) -> Option<&'a [u8]> {
    let found = outcome.headers.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_slice())
}

#[test]
fn no_status_of_any_call_stops_a_request() -> anyhow::Result<()> {
    let host = Host::new(&wasm()?)?;
    for call in CALLS {
        for status in (0..=12).chain([99, u32::MAX]) {
            // From the first configuration on, and at each kind of request.
            let mut vm = host.start()?;
            vm.answer_with(Some((call, status)));
            vm.configure(TABLE.as_bytes())?;
            for headers in [
                &[][..],
                &[("baggage", &b"sandbox=pr-1"[..])],
                &[
                    ("baggage", b"sandbox=pr-1"),
                    ("x-skycap-cluster", b"x"),
                    ("x-skycap-explain", b"1"),
                ],
            ] {
                let outcome = vm.request(&view(headers))?;
                anyhow::ensure!(outcome.response.is_none(), "{call} with {status} answers");
            }
            vm.tick()?;
            vm.answer_with(None);
            vm.configure(TABLE.as_bytes())?;
            let outcome = vm.request(&view(&[("baggage", b"sandbox=pr-1")]))?;
            anyhow::ensure!(
                value(&outcome, "x-skycap-cluster") == Some(ROUTED.as_bytes()),
                "{call} with {status} leaves the filter broken"
            );
        }
    }
    Ok(())
}

#[test]
fn the_old_table_serves_on_and_a_bad_first_one_passes_all() -> anyhow::Result<()> {
    let key: &[(&str, &[u8])] = &[("baggage", b"sandbox=pr-1")];
    let forged: &[(&str, &[u8])] = &[("x-skycap-cluster", b"nowhere")];
    let bad = br#"{"version":"2.0"}"#;
    let mut proxy = Proxy::new(&wasm()?)?;
    anyhow::ensure!(proxy.push(bad)?, "Envoy would not start its listener");
    let outcome = proxy.worker()?.request(&view(key))?;
    anyhow::ensure!(outcome.headers == view(key).headers, "a request without a table changes");
    anyhow::ensure!(proxy.worker()?.request(&view(forged))?.headers.is_empty(), "forged header");
    proxy.worker()?.tick()?;
    let forged = proxy.worker()?.metric("skycap_drops_total.reason=.=forged_dispatch;.;");
    anyhow::ensure!(forged == 1, "{forged} forged headers counted");

    anyhow::ensure!(proxy.push(TABLE.as_bytes())?, "a good table is refused");
    // The second of these passed its trial as a first one, so it reaches the workers.
    for bad in [&b"{}"[..], bad, b"", b"\xff", br#"{"version":"1.0","routes":{}}"#] {
        let _ = proxy.push(bad)?;
        let outcome = proxy.worker()?.request(&view(key))?;
        anyhow::ensure!(
            value(&outcome, "x-skycap-cluster") == Some(ROUTED.as_bytes()),
            "the old table is gone after `{}`",
            bad.escape_ascii()
        );
    }
    let of_plugin = |name: &str| format!("{name}.plugin=.=istio-system.skycap;.;");
    let worker = proxy.worker()?;
    anyhow::ensure!(worker.metric(&of_plugin("skycap_tables_refused_total")) >= 1, "not counted");
    worker.tick()?;
    let vms = worker.metric(&of_plugin("skycap_vms_total"));
    anyhow::ensure!(vms == 1, "{vms} VMs counted, one of which has ticked twice");
    Ok(())
}

#[test]
fn a_new_table_in_mid_request_is_no_trouble() -> anyhow::Result<()> {
    let mut vm = Host::new(&wasm()?)?.start()?;
    vm.configure(TABLE.as_bytes())?;
    let request = view(&[("baggage", b"sandbox=pr-1"), ("x-skycap-explain", b"1")]);
    let first = vm.open(&request)?;
    vm.configure(br#"{"version":"1.0","explain":"on"}"#)?;
    let second = vm.request(&request)?;
    let first = vm.close(first)?;
    anyhow::ensure!(first.decisions.iter().any(|line| line.contains("routed")), "{first:?}");
    anyhow::ensure!(second.decisions.iter().any(|line| line.contains("unknown_key")), "{second:?}");
    Ok(())
}

#[test]
fn memory_does_not_grow() -> anyhow::Result<()> {
    let mut vm = Host::new(&wasm()?)?.start()?;
    let big = view(&[("baggage", &[b'a'; 60 << 10]), ("x-skycap-explain", b"1")]);
    let configure = |vm: &mut skycap_tests::host::Vm, times: usize| -> anyhow::Result<usize> {
        for _ in 0..times {
            anyhow::ensure!(vm.configure(TABLE.as_bytes())?, "refused");
            // Streams whose response never comes leave nothing behind for good.
            drop(vm.open(&big)?);
        }
        Ok(vm.memory())
    };
    let before = configure(&mut vm, PENDING_DECISIONS * 2)?;
    let after = configure(&mut vm, 10_000)?;
    anyhow::ensure!(after == before, "from {before} to {after} bytes");
    Ok(())
}

#[test]
fn whatever_bytes_come_nothing_traps() -> anyhow::Result<()> {
    let mut vm = Host::new(&wasm()?)?.start()?;
    vm.configure(ALL_CARRIERS.as_bytes())?;
    let names = ["baggage", "tracestate", "x-tenant", "cookie", ":path", ":authority"];
    for name in names.into_iter().chain(["x-skycap-cluster", "x-skycap-explain"]) {
        for value in [&b""[..], b"\xff\xfe,\x80=;%", b"%", b"=", b",", b"?&=%2", &[0xff; 60 << 10]]
        {
            let mut view = view(&[(name, value), (name, value)]);
            vm.request(&view)?;
            view.cluster_name = Some(value.to_vec());
            view.virtual_host_name = Some(value.to_vec());
            vm.request(&view)?;
        }
    }
    Ok(())
}

/// VM entries, host calls and fuel of each kind of request. What passes its budget by more than
/// 3% fails: then the figure here is to be argued, or the change.
#[test]
fn a_request_keeps_its_budget() -> anyhow::Result<()> {
    let foreign: Vec<String> =
        (0..8).map(|n| format!("member-number-{n}={}", "v".repeat(34))).collect();
    let foreign = foreign.join(",");
    let mut vm = Host::new(&wasm()?)?.start()?;
    let mut failures = Vec::new();
    for keys in [10, 100_000] {
        anyhow::ensure!(vm.configure(table(keys).as_bytes())?, "refused");
        for (kind, headers, entries, calls, fuel) in [
            ("no baggage", vec![], 2, 2, 3_324),
            // 8,750; behind a large table the allocator looks for 400 bytes a little longer.
            ("foreign baggage", vec![("baggage", foreign.as_bytes())], 3, 2, 9_000),
            ("unknown key", vec![("baggage", &b"sandbox=zz"[..])], 3, 2, 7_250),
            ("routed", vec![("baggage", &b"sandbox=pr-7"[..])], 4, 4, 20_250),
        ] {
            // The first of its kind finds another kind behind it: the second is the steady state.
            vm.request(&view(&headers))?;
            let outcome = vm.request(&view(&headers))?;
            let calls_made: u32 = outcome.calls.values().sum();
            let over = |budget: u64, cost: u64| cost * 100 > budget * 103;
            println!(
                "{kind}: {} entries, {calls_made} calls, {} fuel",
                outcome.entries, outcome.fuel
            );
            if outcome.entries > entries || calls_made > calls || over(fuel, outcome.fuel) {
                failures.push(format!("{kind}: {outcome:?}"));
            }
        }
    }
    anyhow::ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// A table of so many sandboxes, which all replace the cart.
fn table(sandboxes: usize) -> String {
    let keys: Vec<String> = (0..sandboxes).map(|n| format!("pr-{n}:0")).collect();
    TABLE.replace("pr-1:0", &keys.join(" ")).replace("\"on\"", "\"off\"")
}

/// Linear memory never shrinks, so this is the peak: the table, and the JSON that it came from.
#[test]
fn a_row_takes_64_bytes_at_most() -> anyhow::Result<()> {
    let mut vm = Host::new(&wasm()?)?.start()?;
    let before = vm.memory();
    let json = table(100_000);
    anyhow::ensure!(vm.configure(json.as_bytes())?, "refused");
    let (bytes, json) = ((vm.memory() - before) / 100_000, json.len() / 100_000);
    println!("{bytes} bytes of linear memory and {json} of pluginConfig a row");
    anyhow::ensure!(bytes <= 64 && json <= 16, "{bytes} bytes of memory, {json} of JSON a row");
    Ok(())
}

#[test]
fn a_thousand_tables_take_no_more_than_two() -> anyhow::Result<()> {
    let mut vm = Host::new(&wasm()?)?.start()?;
    let tables = [table(1_000), table(999)];
    let mut configure = |times: usize| -> anyhow::Result<usize> {
        for json in tables.iter().cycle().take(times) {
            anyhow::ensure!(vm.configure(json.as_bytes())?, "refused");
        }
        Ok(vm.memory())
    };
    let (before, after) = (configure(10)?, configure(1_000)?);
    anyhow::ensure!(after == before, "from {before} to {after} bytes");
    Ok(())
}

const ALL_CARRIERS: &str = r#"{"version":"1.0","explain":"on","carriers":[{"baggage":"sandbox"},
    {"tracestate":"sandbox"},{"header":"x-tenant","inject":true},{"cookie":"sandbox"},
    {"query":"sandbox"},{"host":"{key}.example.com","inject":true}],
    "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0"}"#;

const CALLS: [&str; 17] = [
    "proxy_add_header_map_value",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

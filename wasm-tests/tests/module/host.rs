//! The built module in the in-process host: what cannot be provoked in a real Envoy.

use skycap_tests::{
    fixture::module_path,
    host::{Host, Outcome, Proxy, View},
};

pub(super) const TABLE: &str = r#"{"version":"1.0","explain":"on","carriers":[{"baggage":"sandbox"}],
    "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0"}"#;
const ROUTED: &str = "outbound|80||cart-pr-1.shop.svc.cluster.local";

pub(super) fn wasm() -> anyhow::Result<Vec<u8>> {
    Ok(std::fs::read(module_path()?)?)
}

pub(super) fn view(headers: &[(&str, &[u8])]) -> View {
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
fn no_status_of_any_host_call_stops_a_request() -> anyhow::Result<()> {
    let host = Host::new(&wasm()?)?;
    for call in CALLS {
        for status in (0..=12).chain([99, u32::MAX]) {
            // From the first configuration on, and with each kind of request.
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
                anyhow::ensure!(
                    outcome.response.is_none(),
                    "{call} with {status}: the filter answers by itself"
                );
            }
            vm.tick()?;
            vm.answer_with(None);
            vm.configure(TABLE.as_bytes())?;
            let outcome = vm.request(&view(&[("baggage", b"sandbox=pr-1")]))?;
            anyhow::ensure!(
                value(&outcome, "x-skycap-cluster") == Some(ROUTED.as_bytes()),
                "{call} with {status}: the filter does not route afterwards"
            );
        }
    }
    Ok(())
}

#[test]
fn an_invalid_table_keeps_the_old_one_and_an_invalid_first_table_passes_all() -> anyhow::Result<()>
{
    let key: &[(&str, &[u8])] = &[("baggage", b"sandbox=pr-1")];
    let forged: &[(&str, &[u8])] = &[("x-skycap-cluster", b"nowhere")];
    let bad = br#"{"version":"2.0"}"#;
    let mut proxy = Proxy::new(&wasm()?)?;
    anyhow::ensure!(
        proxy.push(bad)?,
        "an invalid first table must be accepted, or Envoy does not start its listener"
    );
    let outcome = proxy.worker()?.request(&view(key))?;
    anyhow::ensure!(outcome.headers == view(key).headers, "a request was changed without a table");
    anyhow::ensure!(
        proxy.worker()?.request(&view(forged))?.headers.is_empty(),
        "a forged header stays"
    );
    proxy.worker()?.tick()?;
    let forged = proxy.worker()?.metric("skycap_drops_total.reason=.=forged_dispatch;.;");
    anyhow::ensure!(forged == 1, "counted {forged} forged headers instead of 1");

    anyhow::ensure!(proxy.push(TABLE.as_bytes())?, "a valid table was rejected");
    // Envoy has accepted the second of these as a first table before, so it reaches the workers.
    for bad in [&b"{}"[..], bad, b"", b"\xff", br#"{"version":"1.0","routes":{}}"#] {
        let _ = proxy.push(bad)?;
        let outcome = proxy.worker()?.request(&view(key))?;
        anyhow::ensure!(
            value(&outcome, "x-skycap-cluster") == Some(ROUTED.as_bytes()),
            "the old table does not serve any more after `{}`",
            bad.escape_ascii()
        );
    }
    let of_plugin = |name: &str| format!("{name}.plugin=.=istio-system.skycap;.;");
    let worker = proxy.worker()?;
    anyhow::ensure!(
        worker.metric(&of_plugin("skycap_tables_refused_total")) >= 1,
        "no rejected table was counted"
    );
    worker.tick()?;
    let vms = worker.metric(&of_plugin("skycap_vms_total"));
    anyhow::ensure!(vms == 1, "counted {vms} VMs instead of 1, after two ticks");
    Ok(())
}

#[test]
fn a_table_may_change_during_a_request() -> anyhow::Result<()> {
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
fn no_bytes_make_the_module_trap() -> anyhow::Result<()> {
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

const ALL_CARRIERS: &str = r#"{"version":"1.0","explain":"on","carriers":[{"baggage":"sandbox"},
    {"tracestate":"sandbox"},{"header":"x-tenant","inject":true},{"cookie":"sandbox"},
    {"query":"sandbox"},{"host":"{key}.example.com","inject":true}],
    "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0"}"#;

const CALLS: [&str; 18] = [
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
    "random_get",
];

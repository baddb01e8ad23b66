//! What a table costs: to compile, to send, to configure, to keep.

use std::{collections::HashMap, fmt::Write as _, fs, path::Path, time::Instant};

use anyhow::ensure;
use jiff::Timestamp;
use skycap::table::{compile::compile, input::Input, manifests::Manifests};

use super::{Measured, Row};
use crate::{
    envoy::{Bootstrap, Envoy},
    host::Host,
    module,
    progress::Progress,
};

/// Bytes and times of a table, by its number of rows.
///
/// # Errors
/// When Envoy does not start, or when it refuses a table.
pub async fn configure(envoy: &Path, folder: &Path) -> anyhow::Result<Measured> {
    let _progress = Progress::new("compiling and configuring tables");
    let wasm = module::build()?;
    let host = Host::new(&fs::read(&wasm)?)?;
    let mut rows = Vec::new();
    for sandboxes in [10, 1_000, 10_000, 100_000] {
        let start = Instant::now();
        let json = compiled(sandboxes)?;
        let compile = start.elapsed();
        let bootstrap = Bootstrap {
            node: "compare.shop".into(),
            module: Some(wasm.clone()),
            services: Vec::new(),
            workers: 1,
            dispatch_route: false,
        };
        let place = folder.join(format!("table-{sandboxes}"));
        // With no Service there is no listener: one is wanted, or no filter is loaded.
        let envoy = Envoy::start(envoy, with_a_service(bootstrap), &json, &place).await?;
        let configure = envoy.process.stat(CONFIGURE).await?;
        let start = Instant::now();
        let parsed: HashMap<String, serde_json::Value> = serde_json::from_str(&json)?;
        let parse = start.elapsed();
        ensure!(parsed.contains_key("keys"), "a table has keys");
        let mut vm = host.start()?;
        let before = vm.memory();
        ensure!(vm.configure(json.as_bytes())?, "the module refuses the table");
        rows.push(Row {
            name: format!("{sandboxes} rows"),
            values: vec![
                format!("{:.1}", compile.as_secs_f64() * 1000.0),
                format!("{}", json.len() / sandboxes),
                format!("{:.1}", configure as f64 / 1000.0),
                format!("{:.2}", configure as f64 / parse.as_micros().max(1) as f64),
                format!("{}", (vm.memory() - before) / sandboxes),
            ],
        });
    }
    Ok(Measured {
        title: "Tables of one route a sandbox: compile from YAML, configure in Envoy, memory"
            .into(),
        columns: vec![
            "table",
            "compile ms",
            "JSON bytes a row",
            "configure ms",
            "ratio to serde_json, native",
            "linear memory bytes a row",
        ],
        rows,
    })
}

/// What `skycap compile` makes of so many ConfigMaps.
fn compiled(sandboxes: usize) -> anyhow::Result<String> {
    let mut yaml = String::new();
    for number in 0..sandboxes {
        writeln!(
            yaml,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: pr-{number}\n  namespace: shop\n  \
             labels: {{skycap.dev/kind: sandbox}}\ndata:\n  routes: |\n    cart: cart-pr-{number}"
        )?;
    }
    let mut manifests = Manifests::default();
    manifests.add(&yaml, "generated");
    let now = Timestamp::now();
    let compilation = compile(&Input::new(&manifests, now), now);
    ensure!(!compilation.report.refuses(), "a generated ConfigMap is refused");
    Ok(compilation.config.unwrap_or_default().into_json()?)
}

fn with_a_service(bootstrap: Bootstrap) -> Bootstrap {
    let endpoint = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let cart =
        crate::envoy::bootstrap::Service { name: "cart".into(), port: 80, endpoint, http2: false };
    Bootstrap { services: vec![cart], ..bootstrap }
}

const CONFIGURE: &str = "wasmcustom.skycap_configure_microseconds.plugin=.=istio-system.skycap;.;";

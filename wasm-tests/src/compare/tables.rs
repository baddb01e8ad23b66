//! The cost of a table: to compile it, to send it, to configure it, to keep it.

use std::{collections::HashMap, fmt::Write as _, fs, net::SocketAddr, path::Path, time::Instant};

use anyhow::ensure;
use jiff::Timestamp;
use skycap::table::{compile::compile, input::Input, manifests::Manifests};

use super::{Measured, Row};
use crate::{
    envoy::{Bootstrap, Envoy, bootstrap::Service},
    host::Host,
    module,
    progress::Progress,
};

/// Sizes and times of tables, by their number of rows.
///
/// # Errors
/// If Envoy does not start, or if it rejects a table.
pub async fn configure(envoy: &Path, folder: &Path) -> anyhow::Result<Measured> {
    let _progress = Progress::new("compiling and configuring tables");
    let module = module::build()?;
    let host = Host::new(&fs::read(&module)?)?;
    let mut rows = Vec::new();
    for sandboxes in [10, 1_000, 10_000, 100_000] {
        let place = folder.join(format!("table-{sandboxes}"));
        rows.push(measure(sandboxes, envoy, &module, &host, &place).await?);
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

async fn measure(
    sandboxes: usize,
    envoy: &Path,
    module: &Path,
    host: &Host,
    folder: &Path,
) -> anyhow::Result<Row> {
    let start = Instant::now();
    let json = compiled(sandboxes)?;
    let compile = start.elapsed();
    let envoy = Envoy::start(envoy, bootstrap(module), &json, folder).await?;
    let configure = envoy.process.stat(CONFIGURE).await?;
    let start = Instant::now();
    let parsed: HashMap<String, serde_json::Value> = serde_json::from_str(&json)?;
    let parse = start.elapsed();
    ensure!(parsed.contains_key("keys"), "the table has no `keys`");
    let mut vm = host.start()?;
    let before = vm.memory();
    ensure!(vm.configure(json.as_bytes())?, "the module rejected the table");
    Ok(Row {
        name: format!("{sandboxes} rows"),
        values: vec![
            format!("{:.1}", compile.as_secs_f64() * 1000.0),
            format!("{}", json.len() / sandboxes),
            format!("{:.1}", configure as f64 / 1000.0),
            format!("{:.2}", configure as f64 / parse.as_micros().max(1) as f64),
            format!("{}", (vm.memory() - before) / sandboxes),
        ],
    })
}

/// The table of so many ConfigMaps, as `skycap compile` prints it.
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
    ensure!(!compilation.report.refuses(), "a generated ConfigMap was rejected");
    Ok(compilation.config.unwrap_or_default().into_json()?)
}

/// An Envoy with one Service: without a listener, Envoy loads no filter.
fn bootstrap(module: &Path) -> Bootstrap {
    let endpoint = SocketAddr::from(([127, 0, 0, 1], 9));
    Bootstrap {
        node: "compare.shop".into(),
        module: Some(module.into()),
        services: vec![Service { name: "cart".into(), port: 80, endpoint, http2: false }],
        workers: 1,
        dispatch_route: false,
    }
}

const CONFIGURE: &str = "wasmcustom.skycap_configure_microseconds.plugin=.=istio-system.skycap;.;";

//! `skycap explain`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use kube::Client;
use skycap_core::config::PluginConfig;

use super::{Format, Globals, Usage, mesh::MeshArgs, status::read_report};
use crate::{
    diagnose::{
        curl::CurlCommand,
        explain::{AskedRequest, explain},
    },
    observed::{api, snapshot},
    table::{compile::compile, input::Input, manifests::Manifests, meshes::MeshKind},
};

/// Tell why a request goes where it goes, step by step
///
/// By the very code of the filter, from the table that is in the mesh, or with -f from files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap explain --to cart.shop:80 -H 'baggage: sandbox=pr-123'\n  \
    skycap explain -f deploy/examples -- curl http://cart.shop/items -H 'baggage: sandbox=pr-123'")]
pub struct ExplainArgs {
    /// Files or folders of Kubernetes YAML instead of the mesh's table; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    paths: Vec<PathBuf>,
    /// The Service that the request is for [default: the host of the curl command]
    #[arg(long, value_name = "SERVICE.NAMESPACE[:PORT]")]
    to: Option<String>,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// How to print the steps
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    target: MeshArgs,
    /// A curl command, pasted whole
    #[arg(last = true, value_name = "CURL")]
    curl: Vec<String>,
}

impl ExplainArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { paths, to, headers, output, target, curl } = self;
        let (config, report) = match paths.as_slice() {
            [] => {
                let client = api::connect(globals.context.as_deref()).await?;
                (table(&client, target).await?, read_report(&client).await?)
            }
            paths => {
                let now = Timestamp::now();
                let compilation = compile(&Input::new(&Manifests::read(paths)?, now), now);
                let config = compilation.config.context(
                    "there is no table, for the settings are refused; see `skycap compile -o report`",
                )?;
                (config, compilation.report)
            }
        };
        let domain = config.cluster_domain.as_str().to_owned();
        let request = request(to.as_deref(), &headers, &curl, &globals.namespace, domain)
            .map_err(|text| anyhow::Error::new(Usage(text)))?;
        let story = explain(config, &report, &request)?;
        output.print(&story, || story.table(&request))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The table that is in the mesh; where no plugin has one, it is compiled as the controller does.
async fn table(client: &Client, target: MeshArgs) -> anyhow::Result<PluginConfig> {
    let (meshes, mesh) = target.meshes(client).await?;
    if !meshes.has(MeshKind::Istio) {
        let now = Timestamp::now();
        let compilation = compile(&snapshot::read(client, now).await?, now);
        return compilation.config.context("there is no table: the settings are refused");
    }
    let live = api::read(client, &mesh.references()).await?;
    let config = mesh
        .table_of(&live)
        .context("there is no table in the mesh: see `skycap status`, or explain files with -f")?;
    PluginConfig::from_json(config.to_string().as_bytes())
        .context("the filter would not take the mesh's table")
}

fn request(
    to: Option<&str>,
    headers: &[String],
    curl: &[String],
    namespace: &str,
    domain: String,
) -> Result<AskedRequest, String> {
    let curl = if curl.is_empty() { CurlCommand::default() } else { CurlCommand::parse(curl)? };
    let to = match to {
        Some(to) => to,
        None if curl.host.is_empty() => {
            return Err("nothing to explain: give --to SERVICE.NAMESPACE:PORT, or a curl command after `--`".into());
        }
        None => &curl.host,
    };
    let (service, port) = destination(to, namespace, &domain)?;
    let authority = if curl.host.is_empty() { to } else { &curl.host };
    let mut all = vec![(":authority".to_owned(), authority.as_bytes().to_vec())];
    let path = if curl.path.is_empty() { "/" } else { &curl.path };
    all.push((":path".into(), path.into()));
    for (name, value) in curl.headers {
        // As in HTTP/1.1: the Host header is the authority.
        let name = if name == "host" { ":authority".into() } else { name };
        all.retain(|(known, _)| name != ":authority" || known != ":authority");
        all.push((name, value.into_bytes()));
    }
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("`{header}` is no header, expected `name: value`"))?;
        all.push((name.trim().to_ascii_lowercase(), value.trim().into()));
    }
    Ok(AskedRequest { service, port, headers: all, domain })
}

/// `cart`, `cart.shop`, `cart.shop:80` and `cart.shop.svc.cluster.local:80`.
fn destination(to: &str, namespace: &str, domain: &str) -> Result<((String, String), u16), String> {
    let (host, port) = to.rsplit_once(':').unwrap_or((to, "80"));
    let port = port
        .parse()
        .map_err(|_| format!("`{to}`: `{port}` is no port, expected a number from 1 to 65535"))?;
    let host = host.trim_end_matches('.');
    let host = host.strip_suffix(&format!(".svc.{domain}")).unwrap_or(host);
    let host = host.strip_suffix(".svc").unwrap_or(host);
    let (name, namespace) = host.split_once('.').unwrap_or((host, namespace));
    if name.is_empty() || namespace.contains('.') {
        return Err(format!(
            "`{to}` is no Service of the cluster, expected `SERVICE.NAMESPACE[:PORT]`; give it with --to"
        ));
    }
    Ok(((name.into(), namespace.into()), port))
}

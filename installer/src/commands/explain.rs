//! `skycap explain`.

mod queue;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use kube::Client;
use skycap_core::config::PluginConfig;

use super::{Format, Globals, Usage, files::FileArgs, mesh::MeshArgs};
use crate::{
    diagnose::{
        curl::{CurlCommand, InvalidCurl, parse_header},
        explain::{Place, explain},
        request::{AskedRequest, ServicePort},
    },
    observed::{api, published::read_published, snapshot},
    table::{
        cluster::DEFAULT_NAMESPACE,
        compile::compile,
        meshes::{MeshKind, Meshes},
        report::Report,
    },
};

/// Explain where a request goes and why, step by step
///
/// Runs the filter's own code on the table that is in the mesh, or with -f on a table that is
/// compiled from files.
#[derive(Debug, Args)]
#[command(mut_group("FileArgs", |files| files.conflicts_with("MeshArgs")))]
#[command(after_help = "Examples:\n  \
    skycap explain --to cart.shop:80 -H 'baggage: sandbox=pr-123'\n  \
    skycap explain -f deploy/examples -- curl http://cart.shop/items -H 'baggage: sandbox=pr-123'\n  \
    skycap explain --queue orders -n shop -H 'baggage: sandbox=pr-123'")]
pub struct ExplainArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    mesh: MeshArgs,
}

#[derive(Debug, Args)]
struct RequestArgs {
    /// Service that the client calls [default: the host of the curl command]
    #[arg(long, value_name = "SERVICE[.NAMESPACE][:PORT]")]
    to: Option<String>,
    /// Explain the request as a proxy of the edge decides it, such as the ingress gateway
    #[arg(long)]
    edge: bool,
    /// Explain where a message of this queue goes, instead of a request
    #[arg(long, value_name = "NAME", conflicts_with_all = ["to", "edge", "curl"])]
    queue: Option<String>,
    /// Header of the request or message; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Curl command that sends the request
    #[arg(last = true, value_name = "CURL")]
    curl: Vec<String>,
}

impl ExplainArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { files, request, output, mesh } = self;
        if let Some(queue) = &request.queue {
            return queue::run(queue, files, &request.headers, output, globals).await;
        }
        let (config, report, meshes, namespace) = if files.are_given() {
            let now = Timestamp::now();
            let input = files.input(now)?;
            let compilation = compile(&input, now);
            let config = compilation.config.with_context(|| {
                let why = compilation.report.problems.first().map(ToString::to_string);
                format!("no table: {}", why.unwrap_or_default())
            })?;
            // As a manifest without a namespace.
            let namespace = globals.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            (config, compilation.report, input.meshes(), namespace.to_owned())
        } else {
            let client = globals.connect().await?;
            let (config, report, meshes) = read_table(&client, mesh).await?;
            (config, report, meshes, globals.namespace(&client).to_owned())
        };
        if !meshes.has(MeshKind::Istio) {
            anstream::eprintln!(
                "note: `{meshes}` routes by HTTPRoutes of this table; the README says where they differ \
                 from the filter, whose decision this is"
            );
        }
        let domain = config.cluster_domain.as_str().to_owned();
        let place = if request.edge { Place::Edge } else { Place::Inside };
        let request = request.read(&namespace, domain)?;
        let explanation = explain(config, &report, &request, place)?;
        output.print(&explanation, || explanation.table(&request))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The table that is in the mesh, with the controller's report. Where no plugin has the table, it is
/// compiled as the controller does it.
async fn read_table(
    client: &Client,
    mesh: MeshArgs,
) -> anyhow::Result<(PluginConfig, Report, Meshes)> {
    let (meshes, mesh) = mesh.find(client).await?;
    let (_, report) = read_published(client).await?;
    if !meshes.has(MeshKind::Istio) {
        let now = Timestamp::now();
        let compilation = compile(&snapshot::read(client, now).await?, now);
        let config = compilation.config;
        return Ok((config.context("no table: the settings are rejected")?, report, meshes));
    }
    let live = api::read(client, &mesh.references()).await?;
    let table = mesh.table_of(&live).context(
        "no table in the mesh: `skycap status` shows why; `skycap explain -f` explains files",
    )?;
    let config = PluginConfig::from_json(table.to_string().as_bytes());
    Ok((config.context("the filter would reject the mesh's table")?, report, meshes))
}

impl RequestArgs {
    /// The request that the flags and the curl command describe.
    fn read(self, namespace: &str, domain: String) -> Result<AskedRequest, Usage> {
        let Self { to, headers, curl, .. } = self;
        let curl = match curl.as_slice() {
            [] => CurlCommand::default(),
            curl => CurlCommand::parse(curl)?,
        };
        let to = match to.as_deref() {
            Some(to) => to,
            None if curl.host.is_empty() => return Err(Usage::MissingDestination),
            None if curl.is_other_scheme => return Err(InvalidCurl::NotHttp(curl.host).into()),
            None => &curl.host,
        };
        let authority = if curl.host.is_empty() { to } else { &curl.host };
        let path = if curl.path.is_empty() { "/" } else { &curl.path };
        let mut all = vec![
            (":authority".to_owned(), authority.as_bytes().to_vec()),
            (":path".to_owned(), path.into()),
        ];
        for (name, value) in curl.headers {
            // As in HTTP/1.1: the Host header is the authority.
            let name = if name == "host" { ":authority".into() } else { name };
            all.retain(|(known, _)| name != ":authority" || known != ":authority");
            all.push((name, value.into_bytes()));
        }
        for header in headers {
            let (name, value) = parse_header(&header)?;
            all.push((name, value.into_bytes()));
        }
        Ok(AskedRequest { to: ServicePort::parse(to, namespace, &domain)?, headers: all, domain })
    }
}

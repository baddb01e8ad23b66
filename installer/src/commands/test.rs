//! `skycap test`: a command, and what it needs so that its requests go to a sandbox.

mod child;

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStrExt as _, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use kube::Client;
use serde::Serialize;
use skycap_core::config::PluginConfig;

use super::{Globals, Usage, print, wait::AwaitedArgs};
use crate::{
    desired::istio::IstioMesh,
    diagnose::request::ServicePort,
    forward::{Backend, Forward, Replacements, check_services, member::Member, names},
    observed::{api, preflight::rights::check_forwards, served::Served, snapshot::read_settings},
    table::{
        meshes::{MeshKind, Meshes},
        settings::Settings,
    },
};

/// Run a command whose requests go to a sandbox
///
/// Waits until the sandbox is served. Then the command gets these variables:
///
///   BAGGAGE            the key, for a client with OpenTelemetry; other members stay
///   SKYCAP_KEY         the key, for your own header
///   SKYCAP_SANDBOX     the name of the sandbox
///   SKYCAP_URL_…       the URL of each --forward: SKYCAP_URL_FRONTEND for the first
///                      of Service frontend, SKYCAP_URL_FRONTEND_8080 for each by its port
///
/// A forward is a port of this machine whose requests get the key. The command gets SIGINT, SIGTERM,
/// SIGHUP and SIGQUIT. The exit code is that of the command, 128 and the signal that ended it, 127 if
/// there is no such command, and 1 if the sandbox is not served in time.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:\n  \
    skycap test pr-123 -n shop --forward frontend:80 -- npx playwright test\n  \
    skycap test pr-123 -n shop --forward frontend:80 -- sh -c 'curl $SKYCAP_URL_FRONTEND/cart'")]
pub struct TestArgs {
    #[command(flatten)]
    sandbox: AwaitedArgs,
    /// Service to open on a port of this machine; may be given several times
    #[arg(long = "forward", value_name = "SERVICE[.NAMESPACE][:PORT]")]
    forwards: Vec<String>,
    /// Print the sandbox and the variables as one line of JSON before the command runs
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
    /// Command to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What is printed before the command runs.
#[derive(Debug, Serialize)]
struct Prepared<'a> {
    #[serde(flatten)]
    served: &'a Served,
    variables: BTreeMap<&'a str, String>,
}

impl TestArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { sandbox, forwards, output, command } = self;
        // Before anything is waited for.
        let urls = urls(&forwards)?;
        let client = globals.connect().await?;
        let settings = read_settings(&client).await?.unwrap_or_default();
        let asked = forwards.iter().map(|text| parse(text, globals.namespace(&client), &settings));
        let asked: Vec<_> = asked.collect::<Result<_, _>>()?;
        let namespaces = asked.iter().map(|port| port.namespace.as_str()).collect();
        check_forwards(&client, namespaces).await?;
        check_services(&client, &asked).await?;
        let (served, meshes, istio) = sandbox.until_served(globals, &client).await?;
        anstream::eprintln!("{}/{}: {}", served.namespace, served.name, served.summary());
        let member = Member::new(&settings.config.carriers, served.key.parse()?)?;
        let mut variables = own_variables(&served, &member)?;
        let mut opened = Vec::new();
        if !forwards.is_empty() {
            let replacements = replacements(&client, &meshes, &istio, &served).await?;
            for (asked, names) in asked.into_iter().zip(urls) {
                let backend = Backend::of(&client, asked.clone(), &member, &replacements)?;
                let by = backend.service().to_string();
                let forward = Forward::open(backend, member.clone()).await?;
                let url = forward.url();
                let name = names.first().map(String::as_str).unwrap_or_default();
                anstream::eprintln!("{name}={url}  -->  {}", destination(&asked, &by));
                variables.extend(names.into_iter().map(|name| (name, url.clone().into())));
                opened.push(forward);
            }
        }
        if output.is_some() {
            print_prepared(&served, &variables)?;
        }
        child::run(&command, variables).await
    }
}

/// The names of the variables of each forward.
fn urls(forwards: &[String]) -> Result<Vec<Vec<String>>, Usage> {
    let parts = forwards.iter().map(|text| {
        let asked = parse(text, PLACEHOLDER, &Settings::default())?;
        Ok((text.split(':').next().unwrap_or_default(), asked.port.get()))
    });
    let parts: Vec<_> = parts.collect::<Result<_, Usage>>()?;
    Ok(names(&parts)?)
}

fn parse(text: &str, namespace: &str, settings: &Settings) -> Result<ServicePort, Usage> {
    let domain = settings.config.cluster_domain.as_str();
    ServicePort::parse(text, namespace, domain).map_err(|_| Usage::InvalidForward(text.into()))
}

fn own_variables(served: &Served, member: &Member) -> anyhow::Result<Vec<(String, OsString)>> {
    let inherited = std::env::var_os("BAGGAGE").unwrap_or_default();
    let baggage = member.insert(inherited.as_bytes()).context("the variable BAGGAGE")?;
    let baggage = std::os::unix::ffi::OsStringExt::from_vec(baggage);
    Ok(vec![
        ("BAGGAGE".into(), baggage),
        ("SKYCAP_KEY".into(), served.key.clone().into()),
        ("SKYCAP_SANDBOX".into(), served.name.clone().into()),
    ])
}

/// What may replace a Service: by the table of the mesh, or where no plugin has it, by the sandbox's own
/// routes: its user may read no other table.
async fn replacements(
    client: &Client,
    meshes: &Meshes,
    istio: &IstioMesh,
    served: &Served,
) -> anyhow::Result<Replacements> {
    if !meshes.has(MeshKind::Istio) {
        let (namespace, routes) = (served.namespace.clone(), served.routes.clone());
        return Ok(Replacements::Own { namespace, routes });
    }
    // The plugin alone: a CI job's account may read no other object of the mesh.
    let live = api::read(client, istio.references().get(..1).unwrap_or_default()).await?;
    let table = istio.table_of(&live).context("the mesh has no table any more")?;
    let config = PluginConfig::from_json(table.to_string().as_bytes());
    let config = config.context("the filter would reject the mesh's table")?;
    Ok(Replacements::Table(Box::new(config)))
}

/// `frontend.shop:80`, or with the Service that replaces it.
fn destination(asked: &ServicePort, by: &str) -> String {
    let asked = asked.to_string();
    if asked == by { asked } else { format!("{by}, which replaces {asked}") }
}

fn print_prepared(served: &Served, variables: &[(String, OsString)]) -> anyhow::Result<()> {
    let text = |(name, value): &'_ (String, OsString)| {
        (name.clone(), value.to_string_lossy().into_owned())
    };
    let variables: Vec<_> = variables.iter().map(text).collect();
    let variables = variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let json = serde_json::to_string(&Prepared { served, variables });
    print(&json.context("cannot write JSON")?)
}

/// The namespace of a Service, where only its port matters.
const PLACEHOLDER: &str = "default";

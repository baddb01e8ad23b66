//! `cargo playground`: the shop on Istio's own programs, until it is stopped.
#![forbid(unsafe_code)]

mod pods;

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, Stdio},
};

use clap::Parser;
use serde_json::json;
use skycap::{desired::istio::PluginKind, table::meshes::Meshes};
use skycap_tests::{
    cluster::{self, machine},
    envoy,
    fixture::{
        self, Fixture,
        istio_shop::{ALL_AGENTS, IstioShop, enter},
        manifests::{sandbox, settings},
        module_path,
    },
    progress::Progress,
};
use tokio::signal::unix::{SignalKind, signal};

/// Open a shop in a real cluster, with Istio and skycap installed and one sandbox
///
/// The cluster has a node that runs Pods: three services with injected sidecars, an ingress gateway,
/// istiod and skycap's controller. It is a machine of its own, needs root on Linux, and stays open until
/// Ctrl-C. Nothing is left behind.
///
/// Where Pods cannot run, and with --no-pods, Istio's and Kubernetes' own programs run as processes.
///
/// The first time, this builds the programs from Go: about twenty minutes on two cores.
#[derive(Parser)]
#[command(name = "cargo playground", version)]
struct Args {
    /// Run the programs as processes, without Pods: this opens in less time
    #[arg(long)]
    no_pods: bool,
}

fn main() -> ExitCode {
    let Args { no_pods } = Args::parse();
    let result = match (machine::is_inside(), std::env::var_os(INSIDE).is_some()) {
        (true, _) => play(pods::open()),
        (_, true) => play(open(true)),
        _ if no_pods => prepare().and_then(|()| enter_namespace()),
        _ => match machine::check() {
            Ok(()) => fixture::pods::prepare().and_then(|()| enter_machine()),
            Err(reason) => {
                tell(&format!("{reason:#}; so the programs run as processes, without Pods"));
                prepare().and_then(|()| enter_namespace())
            }
        },
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds and downloads everything: inside the network namespace, there is no network.
fn prepare() -> anyhow::Result<()> {
    module_path()?;
    envoy::obtain()?;
    cluster::obtain()?;
    cluster::istiod()?;
    cluster::agent()?;
    cluster::build_program()
}

/// Replaces this process with one in a network namespace, where it cannot clash with the ports of
/// others. Plays in the machine's own network if it permits no namespace.
fn enter_namespace() -> anyhow::Result<ExitCode> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--"]);
        command
    };
    let mut attempt = unshare();
    let attempt = attempt.arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !attempt.is_ok_and(|status| status.success()) {
        return play(open(false));
    }
    let program = std::env::current_exe()?;
    Err(unshare().arg(program).env(INSIDE, "1").exec().into())
}

/// Replaces this process with one on a machine of its own.
fn enter_machine() -> anyhow::Result<ExitCode> {
    Err(Command::new(machine::script()).arg(std::env::current_exe()?).exec().into())
}

/// Opens the shop and waits for a signal.
#[tokio::main]
async fn play(open: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut terminate, mut hang_up) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hang_up.recv() => 129,
        }
    };
    // Dropping the shop ends its processes and deletes its folder, also while it opens.
    tokio::select! {
        code = stopped => {
            tell("stopped; nothing is left behind");
            Ok(ExitCode::from(code))
        }
        result = open => result,
    }
}

/// Opens the shop, prints how to use it, and keeps it open.
async fn open(has_namespace: bool) -> anyhow::Result<ExitCode> {
    let progress = Progress::new("starting etcd and kube-apiserver");
    let mut fixture = Fixture::start(&Meshes::default(), PluginKind::TrafficExtension).await?;
    fixture.cluster.install().await?;
    fixture.cluster.module_url = format!("file://{}", module_path()?.display());
    drop(progress);
    let progress = Progress::new("starting skycap's controller, istiod and four agents");
    let _shop = IstioShop::open(&mut fixture, &ALL_AGENTS).await?;
    // The person who plays is outside, and sends the key through the gateway.
    fixture.apply(&settings(json!({"edge": "accept: open"}))).await?;
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    let is_routed =
        async |_: &Fixture| Ok(enter("/", &[KEY]).await? == "frontend > cart-pr-1 > pricing");
    fixture.until("a request to the sandbox", is_routed).await?;
    drop(progress);
    tell(&instructions(&fixture, has_namespace)?);
    std::future::pending().await
}

fn instructions(fixture: &Fixture, has_namespace: bool) -> anyhow::Result<String> {
    let kubeconfig = fixture.cluster.kubeconfig(fixture.cluster.admin_token())?;
    let enter = match has_namespace {
        true => format!(
            "  nsenter --target {} --user --net --preserve-credentials\n",
            std::process::id()
        ),
        false => String::new(),
    };
    Ok(format!(
        "\nThe shop is open until Ctrl-C. In another terminal:\n\
         {enter}  export KUBECONFIG={}\n  \
         curl -s -H 'Host: shop.example.com' -H '{}: {}' http://127.0.0.1:8080/\n  \
         {} status\n\
         The logs are in {}",
        kubeconfig.display(),
        KEY.0,
        KEY.1,
        cluster::program().display(),
        fixture.cluster.folder().display()
    ))
}

/// Prints a text. Its terminal may be closed: that must not stop the shop from ending in order.
fn tell(text: &str) {
    drop(writeln!(anstream::stderr(), "{text}"));
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
/// Set in the process inside the network namespace.
const INSIDE: &str = "SKYCAP_PLAYGROUND_INSIDE";

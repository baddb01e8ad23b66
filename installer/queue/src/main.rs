//! The program `skycap-queue`.
#![forbid(unsafe_code)]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use skycap_queue::{
    settings::Settings,
    splitter::{self, Options},
};

/// Move the messages of a queue to the baseline and to the sandboxes
///
/// `skycap render --queue NAME` writes its Deployment with these flags; nobody needs to run it by hand.
#[derive(Debug, Parser)]
#[command(name = "skycap-queue", version)]
struct Args {
    /// The queue's ConfigMap
    #[arg(long, value_name = "NAMESPACE/NAME")]
    queue: String,
    /// URL of the controller, which has the rules
    #[arg(long, value_name = "URL", required_unless_present = "retire")]
    controller: Option<String>,
    /// Folder where the queue's ConfigMap is mounted
    #[arg(long, value_name = "FOLDER", default_value = "/etc/skycap/queue")]
    config: PathBuf,
    /// Folder where the queue's Secret is mounted, if it has one
    #[arg(long, value_name = "FOLDER")]
    secret: Option<PathBuf>,
    /// File of the token for the controller
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/skycap/token")]
    token: PathBuf,
    /// Address that serves /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Unique name of this replica, the same after a restart [default: the host's name]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
    /// Give the topic back to the baseline's group, and exit
    ///
    /// Waits until the splitters are stopped, and until the baseline has read its topic and is stopped.
    #[arg(long)]
    retire: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let Args { queue, controller, config, secret, token, listen, identity, retire } = args;
    let settings = Settings::read(&queue, &config, secret.as_deref())?;
    // The default provider of reqwest's TLS would be another one than the rest of skycap uses.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if retire {
        return splitter::run_retirement(settings).await;
    }
    let controller = controller.unwrap_or_default();
    let identity = identity.unwrap_or_else(host_name);
    splitter::run(settings, Options { controller, token, listen, identity }).await
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "splitter".into() } else { name.trim().into() }
}

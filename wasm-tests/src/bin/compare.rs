//! `cargo compare`: the cost of a request, compared with the other ways to route it, and of what is around
//! it.
#![forbid(unsafe_code)]

use clap::{Parser, ValueEnum};
use skycap_tests::{
    cluster::machine,
    compare::{self, Measured},
    envoy, workspace,
};

/// Compare skycap with the other ways to route a request by its key
#[derive(Parser)]
#[command(name = "cargo compare", version)]
struct Args {
    /// The comparisons to make, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Comparison>,
    /// The formats to write into target/, in addition to the output
    #[arg(long, value_enum, value_delimiter = ',', default_value = "markdown,json")]
    format: Vec<Format>,
    /// The number of rounds; more rounds bring the quartiles closer
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Comparison {
    /// CPU time of a request
    Cpu,
    /// p50 and p99 at a fixed rate
    Latency,
    /// The cost of a table: to compile, to configure and to keep
    Tables,
    /// The cost of a table as HTTPRoutes
    HttpRoutes,
    /// The controller and the command with 10,000 sandboxes on a real API server; needs Go
    ControlPlane,
    /// `skycap up`, `down` and `render sandbox`, and what an environment requests; needs Go and root
    Environments,
    /// The splitter of queues beside a Kafka broker; needs Java and Maven
    Queue,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Markdown,
    Json,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Args { only, format, rounds } = Args::parse();
    if machine::is_inside() {
        anstream::println!("{}", serde_json::to_string(&compare::on_machine().await?)?);
        return Ok(());
    }
    let envoy = envoy::obtain()?;
    let folder = tempfile::tempdir()?;
    let comparisons = if only.is_empty() { Comparison::value_variants().to_vec() } else { only };
    let mut results = Vec::new();
    for comparison in comparisons {
        let measured = match comparison {
            Comparison::Cpu => compare::cpu(&envoy, rounds, folder.path()).await?,
            Comparison::Latency => compare::latencies(&envoy, rounds, folder.path()).await?,
            Comparison::Tables => compare::configure(&envoy, folder.path()).await?,
            Comparison::HttpRoutes => compare::http_routes()?,
            Comparison::ControlPlane => compare::control_plane().await?,
            Comparison::Environments => compare::environments().await?,
            Comparison::Queue => compare::queue()?,
        };
        anstream::println!("\n{}", measured.markdown());
        results.push(measured);
    }
    for format in format {
        let (file, text) = match format {
            Format::Markdown => {
                let tables: Vec<_> = results.iter().map(Measured::markdown).collect();
                ("compare.md", tables.join("\n"))
            }
            Format::Json => ("compare.json", serde_json::to_string_pretty(&results)?),
        };
        let path = workspace::target().join(file);
        std::fs::write(&path, text)?;
        anstream::eprintln!("wrote {}", path.display());
    }
    Ok(())
}

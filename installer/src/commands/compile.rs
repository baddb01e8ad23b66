//! `skycap compile`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::{Format, print, tell};
use crate::{
    desired::gateway_api::HttpRoutes,
    table::{
        compile::{Compilation, compile},
        input::Input,
        manifests::Manifests,
    },
};

/// Compile ConfigMaps into a routing table, without a cluster
///
/// Reads the ConfigMaps labelled `skycap.dev/kind`, the settings `skycap-system/skycap`, and, where
/// there are any, Services, EndpointSlices, and the HTTPRoutes, GRPCRoutes and ServiceProfiles of
/// others. Without a Service all are taken to exist, without an
/// EndpointSlice all are taken to be ready. What is refused or of no effect is told on stderr.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap compile -f deploy/examples -o report")]
pub struct CompileArgs {
    /// Files or folders of Kubernetes YAML; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// What to print
    #[arg(short, long, value_enum)]
    output: Output,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The time at which to compile, in RFC 3339 [default: the clock's]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The JSON that goes into `pluginConfig`
    PluginConfig,
    /// The HTTPRoutes for Linkerd and other meshes of the Gateway API, as YAML
    GatewayApi,
    /// What every fragment routes, what was refused or warned of, and why
    Report,
}

impl CompileArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { paths, output, format, now } = self;
        let now = now.unwrap_or_else(Timestamp::now);
        let input = Input::new(&Manifests::read(&paths)?, now);
        let Compilation { config, mut report, .. } = compile(&input, now);
        let meshes = input.meshes();
        match output {
            Output::PluginConfig => {
                tell(&report);
                if let Some(config) = config {
                    print(&config.into_json().context("cannot write the table as JSON")?)?;
                }
            }
            Output::GatewayApi => {
                let config = config.unwrap_or_default();
                let routes = HttpRoutes::new(&config, &input.cluster, &input.policies, &meshes);
                report.add(routes.problems);
                tell(&report);
                // An expression on one line: folded, it is right and cannot be read.
                let unfolded = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
                let yaml = |object| serde_saphyr::to_string_with_options(object, unfolded.clone());
                let texts: Result<Vec<_>, _> = routes.objects.iter().map(yaml).collect();
                print(texts.context("cannot write YAML")?.join("---\n").trim_end())?;
            }
            Output::Report => {
                if let Some(config) = config.filter(|_| meshes.take_http_routes()) {
                    let routes = HttpRoutes::new(&config, &input.cluster, &input.policies, &meshes);
                    report.add(routes.problems);
                }
                // The table has the problems already.
                if format != Format::Table {
                    tell(&report);
                }
                format.print(&report, || report.table())?;
            }
        }
        Ok(if report.refuses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

//! `skycap compile`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::{Format, print, print_problems, report::whole_report};
use crate::{
    desired::gateway_api::HttpRoutes,
    table::{compile::compile, input::Input, manifests::Manifests},
};

/// Compile ConfigMaps into a routing table without a cluster
///
/// Reads the ConfigMaps with the label `skycap.dev/kind`, the settings `skycap-system/skycap`, and
/// Services, EndpointSlices, HTTPRoutes, GRPCRoutes and ServiceProfiles. If there is no Service, all
/// Services are assumed to exist; if there is no EndpointSlice, all are assumed to be ready. Refusals
/// and warnings go to stderr. The exit code is 1 if something was refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap compile -f deploy/examples -o report\n  \
    kubectl get configmaps,services -A -o yaml | skycap compile -f - -o plugin-config")]
pub struct CompileArgs {
    /// YAML files or folders to read; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// What to print
    #[arg(short, long, value_enum, value_name = "OUTPUT")]
    output: Output,
    /// Format of the report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    format: Format,
    /// Time at which to compile, for `ttl` and `expires` [default: now]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The table as JSON, as it goes into Istio's `pluginConfig`
    PluginConfig,
    /// The table as HTTPRoutes in YAML, for Linkerd and other meshes of the Gateway API
    GatewayApi,
    /// What every fragment routes, with refusals and warnings
    Report,
}

impl CompileArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { paths, output, format, now } = self;
        let now = now.unwrap_or_else(Timestamp::now);
        let input = Input::new(&Manifests::read(&paths)?, now);
        let compilation = compile(&input, now);
        let mut report = compilation.report.clone();
        match output {
            Output::PluginConfig => {
                print_problems(&report);
                if let Some(config) = compilation.config {
                    print(&config.into_json().context("cannot write the table as JSON")?)?;
                }
            }
            Output::GatewayApi => {
                let config = compilation.config.unwrap_or_default();
                let meshes = input.meshes();
                let routes = HttpRoutes::new(&config, &input.cluster, &input.policies, &meshes);
                report.add(routes.problems);
                print_problems(&report);
                // An expression stays on one line: folded, it is correct but unreadable.
                let unfolded = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
                let yaml = |object| serde_saphyr::to_string_with_options(object, unfolded.clone());
                let texts: Result<Vec<_>, _> = routes.objects.iter().map(yaml).collect();
                print(texts.context("cannot write YAML")?.join("---\n").trim_end())?;
            }
            Output::Report => {
                report = whole_report(&input, compilation);
                // As a table, the report shows the problems itself.
                if format != Format::Table {
                    print_problems(&report);
                }
                format.print(&report, || report.table())?;
            }
        }
        Ok(if report.refuses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

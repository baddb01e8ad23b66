//! The command line: its subcommands, and how an error is printed.
//!
//! What a subcommand does is in its module of [`commands`](crate::commands).

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    commands::{
        Globals, Usage,
        check::CheckArgs,
        ci::CiArgs,
        compile::CompileArgs,
        controller::ControllerArgs,
        down::DownArgs,
        enable::{DisableArgs, EnableArgs},
        explain::ExplainArgs,
        install::InstallArgs,
        list::ListArgs,
        plugin::PluginArgs,
        render::RenderArgs,
        rollout::RolloutArgs,
        shell::{CompletionsArgs, ManArgs},
        status::StatusArgs,
        sync::SyncArgs,
        test::TestArgs,
        uninstall::UninstallArgs,
        up::UpArgs,
        version::VersionArgs,
        wait::WaitArgs,
    },
    observed::causes::{is_forbidden, is_terminating},
    problem::printable_lines,
    table::manifests::Unreadable,
};

/// Route the requests of a pull request to the services that it changes
#[derive(Debug, Parser)]
#[command(name = "skycap", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 something was rejected or failed, 2 wrong usage.")]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    subcommand: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Up(UpArgs),
    Down(DownArgs),
    Status(StatusArgs),
    List(ListArgs),
    Explain(ExplainArgs),
    Wait(WaitArgs),
    Test(TestArgs),
    Check(CheckArgs),
    Enable(EnableArgs),
    Disable(DisableArgs),
    Compile(CompileArgs),
    Sync(SyncArgs),
    Install(InstallArgs),
    Uninstall(UninstallArgs),
    Render(RenderArgs),
    Plugin(PluginArgs),
    Rollout(RolloutArgs),
    Controller(ControllerArgs),
    Version(VersionArgs),
    Ci(CiArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Cli {
    /// The whole command line. Global flags are hidden from the help of the subcommands that they
    /// mean nothing to; like kubectl, those accept and ignore them.
    #[must_use]
    pub fn command_line() -> clap::Command {
        let skycap = Self::command();
        let globals: Vec<_> =
            skycap.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
        skycap.mut_subcommands(|subcommand| {
            let name = subcommand.get_name();
            let hidden: Vec<_> = globals.iter().filter(|flag| !concerns(flag, name)).collect();
            // clap gives a subcommand the global flags that it does not have.
            hidden
                .into_iter()
                .fold(subcommand, |subcommand, flag| subcommand.arg(flag.clone().hide(true)))
        })
    }

    /// Parses the arguments of this process. Wrong usage prints what is wrong and exits with 2.
    #[must_use]
    pub fn from_command_line() -> Self {
        let matches = Self::command_line().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the subcommand.
    ///
    /// # Errors
    /// The reason why it failed: [`message`] is its text, [`exit_code`] its exit code.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { globals, subcommand } = self;
        match subcommand {
            Subcommands::Compile(compile) => compile.run(),
            Subcommands::Completions(completions) => completions.run(Self::command_line()),
            Subcommands::Man(man) => man.run(Self::command_line()),
            Subcommands::Render(render) => render.run(&globals),
            Subcommands::Up(up) => block_on(up.run(&globals)),
            Subcommands::Down(down) => block_on(down.run(&globals)),
            Subcommands::Status(status) => block_on(status.run(&globals)),
            Subcommands::List(list) => block_on(list.run(&globals)),
            Subcommands::Explain(explain) => block_on(explain.run(&globals)),
            Subcommands::Wait(wait) => block_on(wait.run(&globals)),
            Subcommands::Test(test) => block_on(test.run(&globals)),
            Subcommands::Check(check) => block_on(check.run(&globals)),
            Subcommands::Enable(enable) => block_on(enable.run(&globals)),
            Subcommands::Disable(disable) => block_on(disable.run(&globals)),
            Subcommands::Sync(sync) => block_on(sync.run(&globals)),
            Subcommands::Install(install) => block_on(install.run(&globals)),
            Subcommands::Uninstall(uninstall) => block_on(uninstall.run(&globals)),
            Subcommands::Rollout(rollout) => block_on(rollout.run(&globals)),
            Subcommands::Plugin(plugin) => block_on(plugin.run()),
            Subcommands::Ci(ci) => block_on(ci.run()),
            Subcommands::Controller(controller) => block_on(controller.run(&globals)),
            Subcommands::Version(version) => block_on(version.run(&globals)),
        }
    }
}

/// The exit code of an error: 2 for wrong usage, 1 for everything else.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_usage = error.is::<Usage>() || error.is::<Unreadable>();
    ExitCode::from(if is_usage { 2 } else { 1 })
}

/// The text of an error: its context and its causes, each said once. It may quote anything, such as the
/// log of a container, and is safe to print.
#[must_use]
pub fn message(error: &anyhow::Error) -> String {
    printable_lines(&causes(error))
}

fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        // The cause of these is what the API server or the network says, without kube's own words.
        if let Some(kube::Error::Api(_) | kube::Error::Service(_)) = cause.downcast_ref() {
            continue;
        }
        let is_connect =
            cause.downcast_ref().is_some_and(hyper_util::client::legacy::Error::is_connect);
        // A registry can be unreachable too, and says so itself.
        if is_connect && error.chain().any(<dyn std::error::Error>::is::<kube::Error>) {
            let why = error.root_cause();
            let what = format!("the cluster is unreachable: {why}; try `kubectl cluster-info`");
            return if text.is_empty() { what } else { format!("{text}: {what}") };
        }
        let cause = cause.to_string();
        // Many libraries repeat their cause in their own text.
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    if is_terminating(error) {
        text.push_str("; wait until it is gone, or use another namespace");
    } else if is_forbidden(error) {
        text.push_str("; ask an administrator for this permission");
    }
    text
}

/// Whether a global flag means something to this subcommand.
fn concerns(flag: &clap::Arg, subcommand: &str) -> bool {
    match flag.get_id().as_str() {
        "context" => !OFFLINE.contains(&subcommand),
        "namespace" => NAMESPACED.contains(&subcommand),
        _ => true,
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Subcommands that connect to no cluster.
const OFFLINE: [&str; 6] = ["compile", "render", "plugin", "ci", "completions", "man"];
/// Subcommands that work in a namespace; the others concern the whole cluster.
const NAMESPACED: [&str; 10] =
    ["up", "down", "list", "explain", "wait", "test", "check", "enable", "disable", "render"];

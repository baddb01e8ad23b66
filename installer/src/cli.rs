//! The command line as typed. What a command does with it stands in its module of
//! [`commands`](crate::commands).

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    Globals, Usage,
    check::CheckArgs,
    compile::CompileArgs,
    controller::ControllerArgs,
    explain::ExplainArgs,
    install::{InstallArgs, RenderArgs, UninstallArgs},
    plugin::PluginArgs,
    rollout::RolloutArgs,
    shell::{CompletionsArgs, ManArgs},
    status::{ListArgs, StatusArgs},
    sync::SyncArgs,
    toggle::{DisableArgs, EnableArgs},
};

/// Routes the requests of a pull request to the services that it changes.
#[derive(Debug, Parser)]
#[command(name = "skycap", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 something was refused or failed, 2 wrong usage.")]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(StatusArgs),
    List(ListArgs),
    Explain(ExplainArgs),
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
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Why it could not be done; [`exit_code`] tells a wrong usage from a refusal.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { globals, command } = self;
        match command {
            Command::Compile(compile) => compile.run(),
            Command::Completions(completions) => completions.run(Self::command()),
            Command::Man(man) => man.run(Self::command()),
            Command::Render(render) => render.run(),
            Command::Status(status) => block_on(status.run(&globals)),
            Command::List(list) => block_on(list.run(&globals)),
            Command::Explain(explain) => block_on(explain.run(&globals)),
            Command::Check(check) => block_on(check.run(&globals)),
            Command::Enable(enable) => block_on(enable.run(&globals)),
            Command::Disable(disable) => block_on(disable.run(&globals)),
            Command::Sync(sync) => block_on(sync.run(&globals)),
            Command::Install(install) => block_on(install.run(&globals)),
            Command::Uninstall(uninstall) => block_on(uninstall.run(&globals)),
            Command::Rollout(rollout) => block_on(rollout.run(&globals)),
            Command::Plugin(plugin) => block_on(plugin.run()),
            Command::Controller(controller) => block_on(controller.run(&globals)),
        }
    }
}

/// The exit code for an error: 2 for wrong usage, 1 for everything else.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_usage = error.is::<Usage>() || error.is::<crate::table::manifests::Unreadable>();
    ExitCode::from(if is_usage { 2 } else { 1 })
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

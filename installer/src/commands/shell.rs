//! `skycap completions` and `skycap man`: what a shell and `man` want to know of the command line.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::print;

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap completions bash > /etc/bash_completion.d/skycap")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the man pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder to write them into
    folder: PathBuf,
}

impl CompletionsArgs {
    pub(crate) fn run(self, mut skycap: Command) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut skycap, "skycap", &mut text);
        print(String::from_utf8(text)?.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ManArgs {
    pub(crate) fn run(self, skycap: Command) -> anyhow::Result<ExitCode> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(skycap, folder))
            .with_context(|| format!("cannot write man pages into `{}`", folder.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

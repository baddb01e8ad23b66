//! `skycap completions` and `skycap man`: the command line in the form of shells and of `man`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::print;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap completions bash > /etc/bash_completion.d/skycap")]
pub struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Write man pages, one per command
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Folder to write to
    #[arg(value_name = "FOLDER")]
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
            .with_context(|| format!("cannot write man pages to `{}`", folder.display()))?;
        anstream::eprintln!("man pages written to `{}`", folder.display());
        Ok(ExitCode::SUCCESS)
    }
}

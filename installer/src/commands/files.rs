//! Reading manifests from files in the place of a cluster.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use crate::table::{
    input::Input,
    manifests::{Manifests, Unreadable},
};

/// The files that a command reads in the place of a cluster.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Read these YAML files or folders instead of the cluster; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    paths: Vec<PathBuf>,
}

impl FileArgs {
    /// Whether files were given.
    pub(crate) const fn are_given(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Reads the manifests in the files.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(crate) fn manifests(&self) -> Result<Manifests, Unreadable> {
        Manifests::read(&self.paths)
    }

    /// Reads the input of a compile from the files.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(crate) fn input(&self, now: Timestamp) -> Result<Input, Unreadable> {
        Ok(Input::new(&self.manifests()?, now))
    }
}

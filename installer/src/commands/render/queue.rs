//! `skycap render --queue`.

use std::process::ExitCode;

use clap::Args;
use skycap_core::names::check_label;

use super::text;
use crate::{
    commands::{Globals, Usage, print},
    desired::splitter::{ABOUT, Splitter},
};

/// Which splitter to write.
#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    /// Write nothing but the splitter of this queue, in the namespace of --namespace
    #[arg(long, value_name = "NAME", conflicts_with_all = NOT_OF_A_QUEUE, value_parser = label)]
    pub(super) queue: Option<String>,
    /// Secret of the queue, if its ConfigMap names one
    #[arg(long, value_name = "NAME", requires = "queue")]
    secret: Option<String>,
}

impl QueueArgs {
    /// Prints the splitter of this queue.
    pub(super) fn run(
        self,
        queue: String,
        image: Option<String>,
        globals: &Globals,
    ) -> anyhow::Result<ExitCode> {
        let namespace = globals.namespace.clone().ok_or(Usage::MissingNamespace)?;
        let image = image.ok_or(Usage::MissingImage)?;
        let splitter = Splitter { namespace, queue, image, secret: self.secret };
        print(text(&("", ABOUT, splitter.objects()))?.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn label(text: &str) -> Result<String, String> {
    check_label(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Flags that mean nothing to a splitter.
const NOT_OF_A_QUEUE: [&str; 6] = ["to", "chart", "access_log", "spans", "readers", "role"];

//! `skycap explain --queue`.

use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::{
    commands::{Format, Globals, Usage, files::FileArgs},
    diagnose::{curl::parse_header, message::explain_message},
    observed::snapshot,
    table::{cluster::DEFAULT_NAMESPACE, compile::compile},
};

/// Explains where a message of a queue goes. The rules are compiled as the controller compiles them.
pub(super) async fn run(
    queue: &str,
    files: FileArgs,
    headers: &[String],
    output: Format,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let headers = headers.iter().map(|header| {
        let (name, value) = parse_header(header)?;
        Ok((name, value.into_bytes()))
    });
    let headers: Vec<_> = headers.collect::<Result<_, Usage>>()?;
    let now = Timestamp::now();
    let (input, namespace) = if files.are_given() {
        let namespace = globals.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        (files.input(now)?, namespace.to_owned())
    } else {
        let client = globals.connect().await?;
        (snapshot::read(&client, now).await?, globals.namespace(&client).to_owned())
    };
    let compilation = compile(&input, now);
    let rules = compilation.queues.context("no rules: the settings are rejected; correct them")?;
    let id = (namespace, queue.to_owned());
    let rules = rules.get(&id);
    let mut queues = input.queues().into_iter();
    let found = queues.find(|found| found.origin.namespace == id.0 && found.origin.name == id.1);
    let (Some(rules), Some(found)) = (rules, found) else {
        anyhow::bail!(
            "queue `{queue}` not found in namespace `{}`, or it is rejected: see `skycap check`",
            id.0
        );
    };
    let explanation = explain_message(found, rules, &compilation.report, &headers);
    output.print(&explanation, || explanation.table())?;
    Ok(ExitCode::SUCCESS)
}

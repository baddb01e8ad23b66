//! `skycap enable` and `skycap disable`: one patch of a ConfigMap, as kubectl would do it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Globals, Usage, print};
use crate::{
    names::{KIND_LABEL, MANAGER, NAMESPACE, SETTINGS},
    observed::api::merge_params,
};

/// Enable a sandbox or group, or all routing
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap enable pr-123 -n shop\n  \
    skycap enable --all")]
pub struct EnableArgs {
    #[command(flatten)]
    target: Switched,
}

/// Disable a sandbox or group, or all routing
///
/// The requests of a disabled sandbox go to the baseline. `--all` is the kill switch: every request
/// goes to the baseline, whatever the sandboxes say.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap disable pr-123 -n shop\n  \
    skycap disable --all")]
pub struct DisableArgs {
    #[command(flatten)]
    target: Switched,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Switched {
    /// Name of the sandbox's or group's ConfigMap
    name: Option<String>,
    /// Change the settings instead, which hold for all sandboxes (the kill switch)
    #[arg(long)]
    all: bool,
}

impl EnableArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        self.target.set(globals, true).await
    }
}

impl DisableArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        self.target.set(globals, false).await
    }
}

impl Switched {
    async fn set(self, globals: &Globals, enabled: bool) -> anyhow::Result<ExitCode> {
        let client = globals.connect().await?;
        let word = if enabled { "enabled" } else { "disabled" };
        match self.name {
            None => {
                set_settings(client, enabled).await?;
                print(&format!("routing is {word} for all sandboxes"))?;
            }
            Some(name) => {
                let namespace = globals.namespace(&client).to_owned();
                set_fragment(client, &namespace, &name, enabled).await?;
                print(&format!("{namespace}/{name} is {word}"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn set_fragment(
    client: Client,
    namespace: &str,
    name: &str,
    enabled: bool,
) -> anyhow::Result<()> {
    let maps = Api::<ConfigMap>::namespaced(client, namespace);
    let context = |verb: &str| format!("cannot {verb} ConfigMap {namespace}/{name}");
    let found = maps.get_opt(name).await.with_context(|| context("read"))?;
    let labels = found.and_then(|map| map.metadata.labels).unwrap_or_default();
    if !matches!(labels.get(KIND_LABEL).map(String::as_str), Some("sandbox" | "group")) {
        return Err(Usage::UnknownSandbox { namespace: namespace.into(), name: name.into() }.into());
    }
    patch(&maps, name, enabled).await.with_context(|| context("write"))
}

/// Creates the settings if there are none: the kill switch must work before they exist.
async fn set_settings(client: Client, enabled: bool) -> anyhow::Result<()> {
    let maps = Api::<ConfigMap>::namespaced(client, NAMESPACE);
    let context = |verb: &str| format!("cannot {verb} the settings {NAMESPACE}/{SETTINGS}");
    if maps.get_opt(SETTINGS).await.with_context(|| context("read"))?.is_some() {
        return patch(&maps, SETTINGS, enabled).await.with_context(|| context("write"));
    }
    let settings = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"labels": {KIND_LABEL: "settings"}},
        "data": {"enabled": enabled.to_string()},
    });
    let written = maps.patch(SETTINGS, &PatchParams::apply(MANAGER), &Patch::Apply(settings)).await;
    written.map(drop).with_context(|| context("create"))
}

async fn patch(maps: &Api<ConfigMap>, name: &str, enabled: bool) -> Result<(), kube::Error> {
    let data = json!({"data": {"enabled": enabled.to_string()}});
    let params = merge_params();
    maps.patch(name, &params, &Patch::Merge(data)).await.map(drop)
}

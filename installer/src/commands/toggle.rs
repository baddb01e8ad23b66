//! `skycap enable` and `skycap disable`: one patch of a ConfigMap, as kubectl would.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Globals, Usage, print};
use crate::{
    names::{KIND_LABEL, MANAGER, NAMESPACE, SETTINGS},
    observed::api,
};

/// Switch a sandbox or a group on
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap enable pr-123 -n shop")]
pub struct EnableArgs {
    #[command(flatten)]
    what: What,
}

/// Switch a sandbox or a group off: its requests go to the baseline
#[derive(Debug, Args)]
#[command(
    after_help = "Example: skycap disable pr-123 -n shop, or in an emergency: skycap disable --all"
)]
pub struct DisableArgs {
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The name of the ConfigMap
    name: Option<String>,
    /// Everything: the kill switch of the settings
    #[arg(long)]
    all: bool,
}

impl EnableArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        self.what.set(globals, true).await
    }
}

impl DisableArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        self.what.set(globals, false).await
    }
}

impl What {
    async fn set(self, globals: &Globals, enabled: bool) -> anyhow::Result<ExitCode> {
        let client = api::connect(globals.context.as_deref()).await?;
        let word = if enabled { "on" } else { "off" };
        let (namespace, name, said) = match self.name {
            None => (NAMESPACE, SETTINGS, format!("everything is switched {word}")),
            Some(ref name) => {
                let namespace = globals.namespace.as_str();
                (namespace, name.as_str(), format!("{namespace}/{name} is switched {word}"))
            }
        };
        let maps = Api::<ConfigMap>::namespaced(client, namespace);
        let found = maps.get_opt(name).await.context("cannot read the ConfigMap")?;
        let labels = found.as_ref().and_then(|map| map.metadata.labels.clone()).unwrap_or_default();
        let kind = labels.get(KIND_LABEL).map(String::as_str);
        if !self.all && !matches!(kind, Some("sandbox" | "group")) {
            let text = format!("no sandbox or group `{namespace}/{name}`, see `skycap list`");
            return Err(Usage(text).into());
        }
        let data = json!({"data": {"enabled": enabled.to_string()}});
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..<_>::default() };
        if found.is_some() {
            maps.patch(name, &params, &Patch::Merge(data)).await
        } else {
            let mut settings = data;
            settings["apiVersion"] = "v1".into();
            settings["kind"] = "ConfigMap".into();
            settings["metadata"] = json!({"labels": {KIND_LABEL: "settings"}});
            maps.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(settings)).await
        }
        .context("cannot write the ConfigMap")?;
        print(&said)?;
        Ok(ExitCode::SUCCESS)
    }
}

//! `skycap plugin push` and `skycap plugin inspect`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Format, print, progress::Progress, verify::VerifyArgs};
use crate::module::{
    oci::{Artifact, Layout, sha256},
    registry::{Access, Address, Registry},
    signature::{Signatures, VerifyKey},
};

/// Push the filter's module to an OCI registry or inspect one
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    Push(PushArgs),
    Inspect(InspectArgs),
}

/// Push a module and print its URL with the digest
///
/// Uses the credentials of `docker login` if there are any.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    cargo module\n  \
    skycap plugin push oci://registry.example.com/skycap/filter:0.1.0")]
struct PushArgs {
    /// Where to push the module: oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "URL")]
    to: Address,
    /// Module to push; `cargo module` builds it
    #[arg(long, value_name = "FILE", default_value = "target/skycap.wasm")]
    module: PathBuf,
    /// Layout in the registry
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = Layout::Artifact)]
    layout: Layout,
}

/// Show the module at a URL and check that Istio accepts it
#[derive(Debug, Args)]
#[command(
    after_help = "Example: skycap plugin inspect oci://registry.example.com/skycap/filter:0.1.0"
)]
struct InspectArgs {
    /// Where the module is: oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST
    #[arg(value_name = "URL")]
    at: Address,
    #[command(flatten)]
    verify: VerifyArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

impl PluginArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            PluginCommand::Push(push) => push.run().await?,
            PluginCommand::Inspect(inspect) => inspect.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl PushArgs {
    async fn run(self) -> anyhow::Result<()> {
        let Self { to, module, layout } = self;
        let name = module.display();
        let bytes = fs::read(&module)
            .with_context(|| format!("cannot read `{name}`; build it with `cargo module`"))?;
        let artifact =
            Artifact::new(&bytes, layout).with_context(|| format!("cannot push `{name}`"))?;
        let progress = Progress::new("pushing");
        let context = || format!("cannot push to `{to}`");
        let registry = Registry::open(&to, Access::Push).await.with_context(context)?;
        let digest =
            registry.push(&artifact, |what| progress.say(what)).await.with_context(context)?;
        drop(progress);
        print(&to.pinned(&digest))
    }
}

impl InspectArgs {
    async fn run(self) -> anyhow::Result<()> {
        let Self { at, verify, output } = self;
        let key = verify.key()?;
        let _progress = Progress::new("pulling");
        let found =
            look(&at, key.as_ref()).await.with_context(|| format!("cannot inspect `{at}`"))?;
        output.print(&found, || found.table())
    }
}

/// The module at a URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    pinned: String,
    layout: Layout,
    version: Option<String>,
    module_bytes: usize,
    module_digest: String,
    signature: Signature,
}

/// What is known of a module's signature.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Signature {
    None,
    Unknown,
    Unverified,
    Verified,
}

impl Inspection {
    fn table(&self) -> String {
        let Self { pinned, layout, version, module_bytes, module_digest, signature } = self;
        let layout = match layout {
            Layout::Artifact => "artifact (accepted by Istio's agent)",
            Layout::Compat => "compat image (accepted by Istio's agent)",
        };
        let signature = match signature {
            Signature::None => "none",
            Signature::Unknown => "unknown; the registry does not say",
            Signature::Unverified => "not verified; pass --verify-key",
            Signature::Verified => "valid for the key",
        };
        let version = version.as_deref().unwrap_or("unknown");
        let rows = [
            ("pinned as", pinned.clone()),
            ("layout", layout.into()),
            ("version", version.into()),
            ("module", format!("{} KB, {module_digest}", module_bytes.div_ceil(1000))),
            ("signature", signature.into()),
        ];
        rows.map(|(name, value)| format!("{name:<12} {value}")).join("\n")
    }
}

async fn look(at: &Address, key: Option<&VerifyKey>) -> anyhow::Result<Inspection> {
    let registry = Registry::open(at, Access::Pull).await?;
    let (manifest, digest) = registry.manifest().await?;
    let (layout, layer) = Layout::of(&manifest)?;
    let signatures = Signatures::find(at, &digest).await;
    let signature = match (key, signatures) {
        (Some(key), signatures) => {
            signatures?.verify(key).await?;
            Signature::Verified
        }
        (None, Err(_)) => Signature::Unknown,
        (None, Ok(signatures)) if signatures.is_empty() => Signature::None,
        (None, Ok(_)) => Signature::Unverified,
    };
    let module = layout.module(registry.layer(layer).await?)?;
    let annotations = manifest.annotations.unwrap_or_default();
    Ok(Inspection {
        pinned: at.pinned(&digest),
        layout,
        version: annotations.get("org.opencontainers.image.version").cloned(),
        module_bytes: module.len(),
        module_digest: sha256(&module),
        signature,
    })
}

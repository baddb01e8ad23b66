//! The module as an artifact in an OCI registry, in the layouts that Istio's agent takes
//! (istio: `pkg/wasm/imagefetcher.go`).
//!
//! | layout | what |
//! |---|---|
//! | [`Layout::Artifact`] | exactly two layers: the module as it is, and what runs it (solo-io/wasm: `spec/spec.md`) |
//! | [`Layout::Compat`] | an image whose last layer is a tar+gzip with `plugin.wasm` (`spec/spec-compat.md`), for registries that take images only |
//!
//! Nothing in them depends on the time or the machine: the same module has the same digest. It is
//! the digest of the manifest by which an object pins a module; Istio's agent compares that one.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail, ensure};
use oci_client::{
    client::{Config, ImageLayer},
    manifest::{OciDescriptor, OciImageManifest},
};
use serde_json::json;

/// How a module lies in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Two layers: the module, and what runs it
    Artifact,
    /// An image with plugin.wasm, for registries that take images only
    Compat,
}

/// A module with all that a registry is to hold of it.
#[derive(Clone)]
pub struct Artifact {
    /// The layers, in the manifest's order.
    pub layers: Vec<ImageLayer>,
    /// The config blob.
    pub config: Config,
    /// The manifest.
    pub manifest: OciImageManifest,
}

impl Artifact {
    /// Lays out a module.
    ///
    /// # Errors
    /// When it is no Proxy-Wasm module of the ABI that Envoy takes.
    pub fn new(module: &[u8], layout: Layout) -> anyhow::Result<Self> {
        check_module(module)?;
        let (layers, config) = match layout {
            Layout::Artifact => {
                let code = ImageLayer::new(module.to_vec(), WASM_LAYER.into(), None);
                let runtime = ImageLayer::new(runtime_config(), WASM_CONFIG.into(), None);
                (vec![code, runtime], Config::new(runtime_config(), WASM_CONFIG.into(), None))
            }
            Layout::Compat => {
                let tar = archive(module)?;
                let config = json!({
                    "architecture": "wasm",
                    "os": "linux",
                    "config": {},
                    "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]},
                });
                let layer = ImageLayer::oci_v1_gzip(compress(&tar)?, None);
                (vec![layer], Config::oci_v1(config.to_string(), None))
            }
        };
        let manifest = OciImageManifest::build(&layers, &config, Some(annotations()));
        Ok(Self { layers, config, manifest })
    }
}

impl Layout {
    /// The layout of a manifest and the layer with the module, as Istio's agent would take it.
    ///
    /// # Errors
    /// When it would not, with what it expects.
    pub fn of(manifest: &OciImageManifest) -> anyhow::Result<(Self, &OciDescriptor)> {
        let layers = &manifest.layers;
        if let Some(last) = layers.last().filter(|last| COMPAT_LAYERS.contains(&&*last.media_type))
        {
            return Ok((Self::Compat, last));
        }
        let code = layers.iter().find(|layer| layer.media_type == WASM_LAYER);
        match code {
            Some(code) if layers.len() == 2 => Ok((Self::Artifact, code)),
            _ => {
                let types: Vec<_> = layers.iter().map(|layer| &*layer.media_type).collect();
                bail!(
                    "Istio's agent takes no artifact with the layers `{}`, expected two of which one is \
                     `{WASM_LAYER}`, or a last one of tar+gzip; push the module anew with `skycap plugin \
                     push`",
                    types.join("`, `")
                )
            }
        }
    }

    /// The module in a layer of this layout.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn module(self, layer: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let module = match self {
            Self::Artifact => layer,
            Self::Compat => unpack(&layer)?,
        };
        check_module(&module)?;
        Ok(module)
    }
}

/// Of bytes, as `sha256:` and hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    ImageLayer::new(bytes.to_vec(), String::new(), None).sha256_digest()
}

fn check_module(module: &[u8]) -> anyhow::Result<()> {
    ensure!(module.starts_with(b"\0asm"), "it is no wasm module: its first bytes are not `\\0asm`");
    let speaks = |abi: &[u8]| module.windows(abi.len()).any(|window| window == abi);
    ensure!(
        speaks(ABI.as_bytes()),
        "it is no Proxy-Wasm filter that Envoy takes: it does not export `{ABI}`; build it with `cargo \
         module`"
    );
    Ok(())
}

fn runtime_config() -> String {
    let config = json!({
        "type": "envoy_proxy",
        "abiVersions": ["v0.2.1"],
        "config": {"rootIds": [crate::names::PLUGIN]},
    });
    config.to_string()
}

fn annotations() -> std::collections::BTreeMap<String, String> {
    let pairs = [
        ("org.opencontainers.image.title", "skycap"),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
    ];
    pairs.map(|(name, value)| (name.into(), value.into())).into()
}

fn archive(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(module.len().try_into()?);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, PLUGIN_FILE, module)?;
    Ok(archive.into_inner()?)
}

fn compress(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn unpack(layer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer));
    for entry in archive.entries().context("the layer is no tar+gzip")? {
        let entry = entry.context("the layer is no tar+gzip")?;
        if entry.path()?.file_name().is_some_and(|name| name == PLUGIN_FILE) {
            let mut module = Vec::new();
            entry.take(MODULE_LIMIT).read_to_end(&mut module)?;
            return Ok(module);
        }
    }
    bail!("there is no `{PLUGIN_FILE}` in its last layer")
}

/// What Envoy looks for (proxy-wasm-cpp-host: `AbiVersion`).
const ABI: &str = "proxy_abi_version_0_2_1";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
/// Of images, as OCI and as Docker call them.
const COMPAT_LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];
const PLUGIN_FILE: &str = "plugin.wasm";
/// Bytes: as much as Istio's agent reads (istio: `ISTIO_WASM_MAX_BINARY_SIZE_BYTES`).
const MODULE_LIMIT: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> Vec<u8> {
        [b"\0asm\x01\0\0\0".as_slice(), ABI.as_bytes()].concat()
    }

    #[test]
    fn what_is_laid_out_is_found_again() -> anyhow::Result<()> {
        for layout in [Layout::Artifact, Layout::Compat] {
            let artifact = Artifact::new(&module(), layout)?;
            let (seen, layer) = Layout::of(&artifact.manifest)?;
            assert_eq!(seen, layout);
            let data = artifact.layers.iter().find(|known| known.sha256_digest() == layer.digest);
            let data = data.context("the manifest names a layer that is not there")?;
            assert_eq!(layout.module(data.data.to_vec())?, module());
            let again = Artifact::new(&module(), layout)?;
            let text = |artifact: &Artifact| artifact.manifest.to_string();
            assert_eq!(text(&again), text(&artifact), "it depends on nothing but the module");
        }
        Ok(())
    }

    #[test]
    fn what_istio_does_not_take_is_refused() -> anyhow::Result<()> {
        assert!(Artifact::new(b"\0asm\x01\0\0\0", Layout::Artifact).is_err(), "another module");
        assert!(Artifact::new(ABI.as_bytes(), Layout::Artifact).is_err(), "no module");
        let mut manifest = Artifact::new(&module(), Layout::Artifact)?.manifest;
        manifest.layers.truncate(1);
        assert!(Layout::of(&manifest).is_err(), "one layer");
        Ok(())
    }
}

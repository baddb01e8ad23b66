//! The module as an artifact in an OCI registry, in the layouts that Istio's agent accepts
//! (istio: `pkg/wasm/imagefetcher.go`).
//!
//! | layout | contents |
//! |---|---|
//! | [`Layout::Artifact`] | exactly two layers: the module, and its runtime configuration (solo-io/wasm: `spec/spec.md`) |
//! | [`Layout::Compat`] | an image whose last layer is a tar+gzip with `plugin.wasm` (`spec/spec-compat.md`), for registries that accept only images |
//!
//! An artifact contains no time and nothing about the machine, so the same module has the same
//! digest. The digest of the manifest pins a module; Istio's agent compares it.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail, ensure};
use oci_client::{
    client::{Config, ImageLayer},
    manifest::{OciDescriptor, OciImageManifest},
};
use serde_json::json;

/// The layout of a module in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Two layers: the module, and its runtime configuration
    Artifact,
    /// An image with plugin.wasm, for registries that accept only images
    Compat,
}

/// A module in the form in which a registry holds it.
#[derive(Clone)]
pub struct Artifact {
    /// The layers, in the order of the manifest.
    pub layers: Vec<ImageLayer>,
    /// The config blob.
    pub config: Config,
    /// The manifest.
    pub manifest: OciImageManifest,
}

impl Artifact {
    /// An artifact of a module.
    ///
    /// # Errors
    /// If it is not a Proxy-Wasm module with an ABI that Envoy supports.
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
    /// The layout of a manifest, and its layer with the module.
    ///
    /// # Errors
    /// If Istio's agent would reject the manifest, with what the agent expects.
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
                    "Istio's agent rejects the layers `{}`: expected two layers of which one is \
                     `{WASM_LAYER}`, or a last layer of tar+gzip; push the module again with `skycap \
                     plugin push`",
                    types.join("`, `")
                )
            }
        }
    }

    /// The module in a layer of this layout.
    ///
    /// # Errors
    /// If the layer does not contain a module.
    pub fn module(self, layer: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let module = match self {
            Self::Artifact => layer,
            Self::Compat => unpack(&layer)?,
        };
        check_module(&module)?;
        Ok(module)
    }
}

/// The digest of bytes, as `sha256:` and hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    ImageLayer::new(bytes.to_vec(), String::new(), None).sha256_digest()
}

fn check_module(module: &[u8]) -> anyhow::Result<()> {
    ensure!(
        module.starts_with(b"\0asm"),
        "not a Wasm module: expected `\\0asm` as the first bytes; build the module with `cargo module`"
    );
    let exports = |abi: &[u8]| module.windows(abi.len()).any(|window| window == abi);
    ensure!(
        exports(ABI.as_bytes()),
        "not a Proxy-Wasm module that Envoy supports: expected the export `{ABI}`; build the module with \
         `cargo module`"
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
    for entry in archive.entries().context(INVALID_ARCHIVE)? {
        let entry = entry.context(INVALID_ARCHIVE)?;
        if entry.path()?.file_name().is_some_and(|name| name == PLUGIN_FILE) {
            let mut module = Vec::new();
            entry.take(MODULE_LIMIT).read_to_end(&mut module)?;
            return Ok(module);
        }
    }
    bail!("no `{PLUGIN_FILE}` in the last layer; push the module again with `skycap plugin push`")
}

/// The export by which Envoy recognizes the ABI (proxy-wasm-cpp-host: `AbiVersion`).
const ABI: &str = "proxy_abi_version_0_2_1";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
/// The layers of images, in OCI's and in Docker's terms.
const COMPAT_LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];
const PLUGIN_FILE: &str = "plugin.wasm";
const INVALID_ARCHIVE: &str =
    "the last layer is not a tar+gzip; push the module again with `skycap plugin push`";
/// The size up to which a module is read, in bytes; Istio's agent reads as much (istio:
/// `ISTIO_WASM_MAX_BINARY_SIZE_BYTES`).
const MODULE_LIMIT: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> Vec<u8> {
        [b"\0asm\x01\0\0\0".as_slice(), ABI.as_bytes()].concat()
    }

    #[test]
    fn a_module_is_found_in_its_artifact() -> anyhow::Result<()> {
        for layout in [Layout::Artifact, Layout::Compat] {
            let artifact = Artifact::new(&module(), layout)?;
            let (seen, layer) = Layout::of(&artifact.manifest)?;
            assert_eq!(seen, layout);
            let data = artifact.layers.iter().find(|known| known.sha256_digest() == layer.digest);
            let data =
                data.context("the manifest names a layer that the artifact does not have")?;
            assert_eq!(layout.module(data.data.to_vec())?, module());
            let again = Artifact::new(&module(), layout)?;
            let text = |artifact: &Artifact| artifact.manifest.to_string();
            assert_eq!(text(&again), text(&artifact), "the manifest depends only on the module");
        }
        Ok(())
    }

    #[test]
    fn a_module_or_manifest_that_istio_rejects_is_an_error() -> anyhow::Result<()> {
        assert!(
            Artifact::new(b"\0asm\x01\0\0\0", Layout::Artifact).is_err(),
            "a module of another ABI"
        );
        assert!(Artifact::new(ABI.as_bytes(), Layout::Artifact).is_err(), "not a module");
        let mut manifest = Artifact::new(&module(), Layout::Artifact)?.manifest;
        manifest.layers.truncate(1);
        assert!(Layout::of(&manifest).is_err(), "one layer");
        Ok(())
    }
}

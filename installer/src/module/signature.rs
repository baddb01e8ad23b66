//! Signatures of modules, in the format of Sigstore's cosign with a key pair (cosign:
//! `specs/SIGNATURE_SPEC.md`).
//!
//! The signatures of the artifact with the digest `sha256:D` are the layers of the artifact
//! `sha256-D.sig` in the same repository. Each layer is a text that names the digest; its signature is
//! an annotation. Anybody who may push to the repository may add some, so one that is valid is enough.
//!
//! What the key vouches for is the digest of the manifest. Istio's agent verifies the module against it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use oci_client::manifest::OciDescriptor;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde_json::Value;

use super::registry::{Access, Address, Registry, RegistryError};

/// A public key that verifies signatures of modules: ECDSA on P-256, as cosign makes it.
#[derive(Debug, Clone)]
pub struct VerifyKey {
    path: PathBuf,
    point: Vec<u8>,
}

impl VerifyKey {
    /// Reads a public key in PEM, such as `cosign.pub`.
    ///
    /// # Errors
    /// [`InvalidKeyFile`].
    pub fn read(path: &Path) -> Result<Self, InvalidKeyFile> {
        let pem = fs::read(path)
            .map_err(|source| InvalidKeyFile::Unreadable { path: path.into(), source })?;
        let info = SubjectPublicKeyInfoDer::from_pem_slice(&pem);
        let point = info.ok().and_then(|info| Some(info.strip_prefix(P256_INFO)?.to_vec()));
        let point = point.ok_or_else(|| InvalidKeyFile::NotP256 { path: path.into() })?;
        Ok(Self { path: path.into(), point })
    }

    fn has_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        key.verify(payload, signature).is_ok()
    }
}

/// The signatures of one artifact.
pub struct Signatures {
    registry: Registry,
    digest: String,
    /// Each with its layer, which is what was signed.
    found: Vec<(OciDescriptor, Vec<u8>)>,
}

impl Signatures {
    /// Finds the signatures of the artifact with this digest. There may be none.
    ///
    /// # Errors
    /// The registry's error.
    pub async fn find(address: &Address, digest: &str) -> Result<Self, RegistryError> {
        let registry = Registry::open(&address.signatures_of(digest), Access::Pull).await?;
        let layers = match registry.manifest().await {
            Ok((manifest, _)) => manifest.layers,
            Err(RegistryError::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let signed = layers.into_iter().filter_map(|layer| Some((signature(&layer)?, layer)));
        let found = signed.take(SIGNATURES).map(|(signature, layer)| (layer, signature)).collect();
        Ok(Self { registry, digest: digest.into(), found })
    }

    /// Whether nobody has signed the artifact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Verifies that one of the signatures is by this key.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub async fn verify(&self, key: &VerifyKey) -> Result<(), SignatureError> {
        let Self { registry, digest, found } = self;
        if found.is_empty() {
            return Err(SignatureError::Unsigned { digest: digest.clone() });
        }
        let mut unreadable = None;
        for (layer, signature) in found {
            match registry.layer(layer).await {
                Ok(payload) if key.has_signed(&payload, signature) && names(&payload, digest) => {
                    return Ok(());
                }
                Ok(_) => {}
                // Whoever may push can add a broken one; it must not hide a valid one.
                Err(error) => unreadable = Some(error),
            }
        }
        let (count, key) = (found.len(), key.path.clone());
        Err(match unreadable {
            Some(error) => error.into(),
            None => SignatureError::OtherKey { digest: digest.clone(), count, key },
        })
    }
}

/// Why a file is not a public key.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeyFile {
    /// The file cannot be read.
    #[error("cannot read the public key `{}`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "invalid public key in `{}`: expected PEM (`BEGIN PUBLIC KEY`) with a key on the curve P-256, \
         as `cosign generate-key-pair` writes it to cosign.pub",
        .path.display()
    )]
    NotP256 {
        /// The file.
        path: PathBuf,
    },
}

/// Why a module is not accepted by its signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Nobody has signed it.
    #[error(
        "the module `{digest}` has no signature in its repository; sign it with `cosign sign --key \
         cosign.key REGISTRY/REPOSITORY@DIGEST` (cosign 3: with `--new-bundle-format=false`), or leave out \
         `--verify-key`"
    )]
    Unsigned {
        /// The module's digest.
        digest: String,
    },
    /// It has signatures, and none of them is valid for this key and this digest.
    #[error(
        "none of the {count} signatures of the module `{digest}` is by the key in `{}`; do not use the \
         module unless you know who has signed it",
        .key.display()
    )]
    OtherKey {
        /// The module's digest.
        digest: String,
        /// How many signatures there are.
        count: usize,
        /// The file of the key.
        key: PathBuf,
    },
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The signature of a layer of cosign's; `None` if it is another layer.
fn signature(layer: &OciDescriptor) -> Option<Vec<u8>> {
    if layer.media_type != PAYLOAD || layer.size > PAYLOAD_BYTES {
        return None;
    }
    let annotations = layer.annotations.as_ref()?;
    BASE64_STANDARD.decode(annotations.get("dev.cosignproject.cosign/signature")?).ok()
}

/// Whether what was signed is this digest.
fn names(payload: &[u8], digest: &str) -> bool {
    let payload: Option<Value> = serde_json::from_slice(payload).ok();
    payload.is_some_and(|payload| {
        let critical = &payload["critical"];
        critical["type"] == "cosign container image signature"
            && critical["image"]["docker-manifest-digest"] == digest
    })
}

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The most bytes of what was signed; cosign writes about 250.
const PAYLOAD_BYTES: i64 = 64 << 10;
/// The most signatures that are looked at.
const SIGNATURES: usize = 64;
/// The `SubjectPublicKeyInfo` of a key on P-256, up to the point (RFC 5480 section 2).
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

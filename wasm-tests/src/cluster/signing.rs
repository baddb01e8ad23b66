//! Signatures as cosign makes them with a key pair (cosign: `specs/SIGNATURE_SPEC.md`).

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageManifest,
    secrets::RegistryAuth,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;

use super::Registry;

/// A key pair on P-256.
#[derive(Debug)]
pub struct SigningKey(EcdsaKeyPair);

impl SigningKey {
    /// A new key pair.
    ///
    /// # Errors
    /// The machine has no random bytes.
    pub fn generate() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok().context("no random bytes")?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random);
        key.ok().map(Self).context("ring rejects its own key")
    }

    /// The public key, as `cosign generate-key-pair` writes it.
    #[must_use]
    pub fn public_pem(&self) -> String {
        let info = [P256_INFO, self.0.public_key().as_ref()].concat();
        let text = BASE64_STANDARD.encode(info);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn layer(&self, repository: &str, digest: &str) -> anyhow::Result<ImageLayer> {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = self.0.sign(&SystemRandom::new(), &payload).ok().context("cannot sign")?;
        let signature = BASE64_STANDARD.encode(signature);
        let annotations = [("dev.cosignproject.cosign/signature".to_owned(), signature)].into();
        let media_type = "application/vnd.dev.cosign.simplesigning.v1+json";
        Ok(ImageLayer::new(payload, media_type.into(), Some(annotations)))
    }
}

impl Registry {
    /// Replaces the signatures of the artifact at this pinned URL: by each key, one of the digest
    /// beside it.
    ///
    /// # Errors
    /// If the registry rejects them.
    pub async fn sign(&self, pinned: &str, by: &[(&SigningKey, &str)]) -> anyhow::Result<()> {
        let bare = pinned.trim_start_matches("oci://");
        let (repository, digest) = bare.split_once('@').context("the URL has no digest")?;
        let layers = by.iter().map(|(key, digest)| key.layer(repository, digest));
        let layers = layers.collect::<anyhow::Result<Vec<_>>>()?;
        let tag: Reference = format!("{repository}:{}.sig", digest.replace(':', "-")).parse()?;
        let protocol = ClientProtocol::HttpsExcept(vec![self.address.to_string()]);
        let client = Client::new(ClientConfig {
            protocol,
            use_monolithic_push: true,
            ..ClientConfig::default()
        });
        let config = Config::oci_v1("{}".as_bytes().to_vec(), None);
        let manifest = OciImageManifest::build(&layers, &config, None);
        let anonymous = RegistryAuth::Anonymous;
        client.push(&tag, &layers, config, &anonymous, Some(manifest)).await?;
        Ok(())
    }
}

/// The `SubjectPublicKeyInfo` of a key on P-256, up to the point (RFC 5480 section 2).
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

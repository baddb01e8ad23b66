//! An OCI registry: an artifact is pushed to it, and the digest of an artifact is read from it.

mod address;
mod credentials;
mod error;

use std::{net::Ipv4Addr, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::{OciDescriptor, OciImageManifest, OciManifest},
    secrets::RegistryAuth,
};

pub use self::{
    address::{Address, InvalidAddress},
    error::RegistryError,
};
use self::{credentials::credentials, error::is_transient};
use super::oci::Artifact;

/// A place in a registry, and the credentials for it.
pub struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

/// What a [`Registry`] is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing.
    Push,
}

impl Registry {
    /// Authenticates with Docker's credentials for this registry, or as anonymous if there are
    /// none.
    ///
    /// # Errors
    /// If the credentials cannot be read, or if the registry rejects them.
    pub async fn open(address: &Address, access: Access) -> Result<Self, RegistryError> {
        // It fails if another part of the program has installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reference = address.reference().clone();
        let config = ClientConfig {
            protocol: protocol(reference.registry()),
            connect_timeout: Some(TIMEOUT),
            read_timeout: Some(TIMEOUT),
            // A module is small, and some registries reject chunks.
            use_monolithic_push: true,
            ..ClientConfig::default()
        };
        let auth = credentials(reference.registry())?;
        let registry = Self { client: Client::new(config), reference, auth };
        let operation = match access {
            Access::Pull => RegistryOperation::Pull,
            Access::Push => RegistryOperation::Push,
        };
        let authenticate = || registry.client.auth(&registry.reference, &registry.auth, operation);
        registry.retry(authenticate).await?;
        Ok(registry)
    }

    /// Pushes an artifact and returns the digest of its manifest, as the registry reports it. Calls
    /// `say` with the progress.
    ///
    /// # Errors
    /// The registry's error, after several attempts if it may be transient.
    pub async fn push(
        &self,
        artifact: &Artifact,
        say: impl Fn(&str),
    ) -> Result<String, RegistryError> {
        let Artifact { layers, config, manifest } = artifact;
        let blobs = layers.iter().map(|layer| (&layer.data, layer.sha256_digest()));
        let blobs = blobs.chain([(&config.data, config.sha256_digest())]);
        for (data, digest) in blobs {
            say(&format!("{} bytes, {digest}", data.len()));
            let place = &self.reference;
            if !self.retry(|| self.client.blob_exists(place, &digest)).await? {
                self.retry(|| self.client.push_blob(place, data.clone(), &digest)).await?;
            }
        }
        say("the manifest");
        let manifest = OciManifest::Image(manifest.clone());
        self.retry(|| self.client.push_manifest(&self.reference, &manifest)).await?;
        self.digest().await
    }

    /// The digest of the manifest.
    ///
    /// # Errors
    /// The registry's error; [`RegistryError::NotFound`] if there is no manifest.
    pub async fn digest(&self) -> Result<String, RegistryError> {
        self.retry(|| self.client.fetch_manifest_digest(&self.reference, &self.auth)).await
    }

    /// The manifest and its digest.
    ///
    /// # Errors
    /// The registry's error; [`RegistryError::NotFound`] if there is no manifest.
    pub async fn manifest(&self) -> Result<(OciImageManifest, String), RegistryError> {
        self.retry(|| self.client.pull_image_manifest(&self.reference, &self.auth)).await
    }

    /// The bytes of a layer, whose digest is verified.
    ///
    /// # Errors
    /// The registry's error, or that the digest does not match.
    pub async fn layer(&self, layer: &OciDescriptor) -> Result<Vec<u8>, RegistryError> {
        let read = async || {
            let mut bytes = Vec::new();
            self.client.pull_blob(&self.reference, layer, &mut bytes).await?;
            Ok(bytes)
        };
        self.retry(read).await
    }

    /// Sends a request, and repeats it a few times after a transient error.
    async fn retry<T, F: Future<Output = Result<T, OciDistributionError>>>(
        &self,
        request: impl FnMut() -> F,
    ) -> Result<T, RegistryError> {
        let attempts = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_times(3)
            .with_jitter();
        let result = request.retry(attempts).when(is_transient).await;
        result.map_err(|error| RegistryError::new(self.reference.registry(), error))
    }
}

/// HTTP for the registries that Istio's agent speaks HTTP to: `localhost`, names that end in
/// `.localhost`, and private and loopback addresses (go-containerregistry: `Registry.Scheme`); else HTTPS.
/// So what can be pushed can be fetched.
fn protocol(registry: &str) -> ClientProtocol {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let is_local = host == "localhost"
        || host.ends_with(".localhost")
        || host == "[::1]"
        || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback() || ip.is_private());
    if is_local {
        ClientProtocol::HttpsExcept(vec![registry.to_owned()])
    } else {
        ClientProtocol::Https
    }
}

/// How long a connection, or a part of a response, may take.
const TIMEOUT: Duration = Duration::from_secs(30);

//! A registry: where an artifact is pushed to, and where its digest is read.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use backon::{ExponentialBuilder, Retryable as _};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{OciImageManifest, OciManifest},
    secrets::RegistryAuth,
};

use super::oci::Artifact;

/// A place in a registry, and how to get in.
pub struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

/// A module's address: `oci://REGISTRY/REPOSITORY:TAG`, or `…@sha256:DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Reference);

impl std::str::FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let reference = text.strip_prefix(SCHEME).and_then(|bare| bare.parse().ok());
        reference.map(Self).ok_or_else(|| NoAddress(text.into()))
    }
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no place in a registry, expected `oci://REGISTRY/REPOSITORY:TAG`")]
pub struct NoAddress(String);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

impl Address {
    /// The same place, by the digest of what lies there.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> String {
        let repository = format!("{}/{}", self.0.registry(), self.0.repository());
        format!("{SCHEME}{repository}@{digest}")
    }

    /// Whether it names a digest.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.0.digest().is_some()
    }
}

impl Registry {
    /// Gets in, with Docker's credentials for this registry where there are some.
    ///
    /// # Errors
    /// When they cannot be read, or the registry refuses them.
    pub async fn open(address: &Address, operation: Access) -> anyhow::Result<Self> {
        // Another part of the program may have said the same already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reference = address.0.clone();
        let config = ClientConfig {
            protocol: protocol(reference.registry()),
            connect_timeout: Some(TIMEOUT),
            read_timeout: Some(TIMEOUT),
            // In one request: some registries take no chunks, and a module is small.
            use_monolithic_push: true,
            ..ClientConfig::default()
        };
        let auth = credentials(reference.registry())?;
        let registry = Self { client: Client::new(config), reference, auth };
        let operation = match operation {
            Access::Pull => RegistryOperation::Pull,
            Access::Push => RegistryOperation::Push,
        };
        let enter = || registry.client.auth(&registry.reference, &registry.auth, operation);
        registry.patiently(enter).await?;
        Ok(registry)
    }

    /// Pushes an artifact and gives the digest of its manifest, as the registry tells it.
    ///
    /// # Errors
    /// As the registry says, after some attempts.
    pub async fn push(&self, artifact: &Artifact, say: impl Fn(&str)) -> anyhow::Result<String> {
        let Artifact { layers, config, manifest } = artifact;
        let blobs = layers.iter().map(|layer| (&layer.data, layer.sha256_digest()));
        let blobs = blobs.chain([(&config.data, config.sha256_digest())]);
        for (data, digest) in blobs {
            say(&format!("{} bytes, {digest}", data.len()));
            let place = &self.reference;
            if !self.patiently(|| self.client.blob_exists(place, &digest)).await? {
                self.patiently(|| self.client.push_blob(place, data.clone(), &digest)).await?;
            }
        }
        say("the manifest");
        let manifest = OciManifest::Image(manifest.clone());
        self.patiently(|| self.client.push_manifest(&self.reference, &manifest)).await?;
        self.digest().await
    }

    /// The digest of the manifest.
    ///
    /// # Errors
    /// When there is none.
    pub async fn digest(&self) -> anyhow::Result<String> {
        let read = || self.client.fetch_manifest_digest(&self.reference, &self.auth);
        self.patiently(read).await
    }

    /// The manifest and its digest.
    ///
    /// # Errors
    /// When there is none, or it is none of an image.
    pub async fn manifest(&self) -> anyhow::Result<(OciImageManifest, String)> {
        let read = || self.client.pull_image_manifest(&self.reference, &self.auth);
        self.patiently(read).await
    }

    /// A layer, checked against its digest.
    ///
    /// # Errors
    /// When it is not there, or is another one.
    pub async fn layer(
        &self,
        layer: &oci_client::manifest::OciDescriptor,
    ) -> anyhow::Result<Vec<u8>> {
        let read = async || {
            let mut bytes = Vec::new();
            self.client.pull_blob(&self.reference, layer, &mut bytes).await?;
            Ok(bytes)
        };
        self.patiently(read).await
    }

    /// Does it again, a few times, where the network or the registry had a bad moment.
    async fn patiently<T, F: Future<Output = Result<T, OciDistributionError>>>(
        &self,
        work: impl FnMut() -> F,
    ) -> anyhow::Result<T> {
        let attempts = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_times(3)
            .with_jitter();
        let result = work.retry(attempts).when(is_passing).await;
        result.map_err(|error| explain(self.reference.registry(), error))
    }
}

/// What is to be done with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing.
    Push,
}

/// A registry on this machine is spoken to without TLS, as Docker does.
fn protocol(registry: &str) -> ClientProtocol {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let is_local = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_local {
        ClientProtocol::HttpsExcept(vec![registry.to_owned()])
    } else {
        ClientProtocol::Https
    }
}

fn credentials(registry: &str) -> anyhow::Result<RegistryAuth> {
    match docker_credential::get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            Ok(RegistryAuth::Basic(name, password))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::NoCredentialConfigured,
        ) => Ok(RegistryAuth::Anonymous),
        // The crate says this also where there is no such file.
        Err(CredentialRetrievalError::ConfigReadError) if !docker_config().exists() => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot read Docker's credentials for `{registry}`; try `docker login {registry}`"
            )
        }),
    }
}

/// Where Docker keeps its credentials.
fn docker_config() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    folder.unwrap_or_default().join("config.json")
}

fn is_passing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => error.is_connect() || error.is_timeout(),
        OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
        _ => false,
    }
}

/// The crate's errors say what happened; this says what to do.
fn explain(registry: &str, error: OciDistributionError) -> anyhow::Error {
    use OciDistributionError as E;
    let codes: Vec<_> = match &error {
        E::RegistryError { envelope, .. } => envelope.errors.iter().map(|e| &e.code).collect(),
        _ => Vec::new(),
    };
    let is_missing = codes
        .iter()
        .any(|code| matches!(code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown));
    let is_locked =
        codes.iter().any(|code| matches!(code, OciErrorCode::Unauthorized | OciErrorCode::Denied));
    let locked = || {
        format!("`{registry}` lets nobody in by these credentials; try `docker login {registry}`")
    };
    let advice = match &error {
        E::RegistryError { .. } if is_missing => MISSING.to_owned(),
        E::ImageManifestNotFoundError(_) => MISSING.to_owned(),
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => locked(),
        E::RegistryError { .. } if is_locked => locked(),
        E::RequestError(error)
            if error.status().is_some_and(|status| [401, 403].contains(&status.as_u16())) =>
        {
            locked()
        }
        E::RequestError(error) if error.is_connect() => {
            format!("cannot reach the registry `{registry}` from here")
        }
        _ => format!("the registry `{registry}` did not do it"),
    };
    anyhow::Error::new(error).context(advice)
}

/// The same address by the digest of what lies there now: a tag that moves would give each Pod what
/// it found at its start.
pub async fn pin(url: &str) -> anyhow::Result<String> {
    let address = match url.parse::<Address>() {
        Ok(address) if !address.is_pinned() => address,
        _ => return Ok(url.into()),
    };
    let digest = async { Registry::open(&address, Access::Pull).await?.digest().await }.await;
    let digest = digest.with_context(|| {
        format!(
            "cannot pin `{url}` to what lies there: give it with its digest, as `skycap \
             plugin push` prints it"
        )
    })?;
    let pinned = address.pinned(&digest);
    anstream::eprintln!("the module is {pinned}");
    Ok(pinned)
}

const MISSING: &str = "there is no such module; push it with `skycap plugin push`";
/// What Istio writes before a reference.
pub const SCHEME: &str = "oci://";
const TIMEOUT: Duration = Duration::from_secs(30);

//! The errors of a registry, with what to do about them.

use docker_credential::CredentialRetrievalError;
use oci_client::errors::{OciDistributionError, OciErrorCode};

/// A request to a registry that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no manifest at the address.
    #[error("module not found; push it with `skycap plugin push`")]
    NotFound(#[source] OciDistributionError),
    /// The registry rejects the credentials, or requires some.
    #[error("`{registry}` rejects the credentials; run `docker login {registry}`")]
    Unauthorized {
        /// The registry's host and port.
        registry: String,
        /// The client's error.
        source: OciDistributionError,
    },
    /// There is no connection to the registry.
    #[error("registry `{registry}` is unreachable; check its address and the network")]
    Unreachable {
        /// The registry's host and port.
        registry: String,
        /// The client's error.
        source: OciDistributionError,
    },
    /// Any other error.
    #[error("request to registry `{registry}` failed")]
    Failed {
        /// The registry's host and port.
        registry: String,
        /// The client's error.
        source: OciDistributionError,
    },
    /// Docker's credentials cannot be read.
    #[error("cannot read Docker's credentials for `{registry}`; run `docker login {registry}`")]
    Credentials {
        /// The registry's host and port.
        registry: String,
        /// Why they cannot be read.
        source: CredentialRetrievalError,
    },
}

impl RegistryError {
    /// Classifies an error of the client.
    pub(super) fn new(registry: &str, source: OciDistributionError) -> Self {
        use OciDistributionError as E;
        let codes: Vec<_> = match &source {
            E::RegistryError { envelope, .. } => envelope.errors.iter().map(|e| &e.code).collect(),
            _ => Vec::new(),
        };
        let has = |wanted: [OciErrorCode; 2]| codes.iter().any(|code| wanted.contains(code));
        let is_missing = matches!(&source, E::ImageManifestNotFoundError(_))
            || has([OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown]);
        let is_unauthorized = match &source {
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => true,
            E::RequestError(error) => {
                error.status().is_some_and(|status| [401, 403].contains(&status.as_u16()))
            }
            _ => has([OciErrorCode::Unauthorized, OciErrorCode::Denied]),
        };
        let is_unreachable = matches!(&source, E::RequestError(error) if error.is_connect());
        let registry = registry.to_owned();
        if is_missing {
            Self::NotFound(source)
        } else if is_unauthorized {
            Self::Unauthorized { registry, source }
        } else if is_unreachable {
            Self::Unreachable { registry, source }
        } else {
            Self::Failed { registry, source }
        }
    }
}

/// Whether the same request may succeed a moment later.
pub(super) fn is_transient(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => error.is_connect() || error.is_timeout(),
        OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
        _ => false,
    }
}

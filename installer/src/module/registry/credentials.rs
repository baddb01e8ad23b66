//! Docker's credentials for a registry.

use std::{env, path::PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use oci_client::secrets::RegistryAuth;

use super::RegistryError;

/// Docker's credentials for a registry; anonymous if there are none.
///
/// # Errors
/// If there are credentials, but they cannot be read.
pub(super) fn credentials(registry: &str) -> Result<RegistryAuth, RegistryError> {
    match get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            Ok(RegistryAuth::Basic(name, password))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::NoCredentialConfigured,
        ) => Ok(RegistryAuth::Anonymous),
        // The crate returns this error also if there is no such file.
        Err(CredentialRetrievalError::ConfigReadError) if !docker_config().exists() => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(source) => Err(RegistryError::Credentials { registry: registry.into(), source }),
    }
}

/// The file in which Docker keeps its credentials.
fn docker_config() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    folder.unwrap_or_default().join("config.json")
}

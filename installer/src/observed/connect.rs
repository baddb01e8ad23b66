//! Which cluster a command speaks to.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Connects to the cluster of the kubeconfig's context `context`, or else of its current context.
/// Without a kubeconfig, a Pod connects to its own cluster.
///
/// The client's default namespace is the context's, or the Pod's own.
///
/// # Errors
/// [`ConnectError`]. No request is sent yet, so an unreachable cluster is not noticed here.
pub async fn connect(context: Option<&str>) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions { context: context.map(Into::into), ..<_>::default() };
    let mut config = match Config::from_kubeconfig(&options).await {
        Ok(config) => config,
        Err(error) => match Config::incluster() {
            Ok(config) if context.is_none() => config,
            _ => return Err(error.into()),
        },
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.apply_debug_overrides();
    Client::try_from(config).map_err(ConnectError::Client)
}

/// How long it may take to connect to the API server: a user waits for it, and the controller's watches
/// find out by it that the API server is gone. kube's own is 30 seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no file where a kubeconfig is expected.
    #[error(
        "no kubeconfig found at `{0}`: set KUBECONFIG to the path of a kubeconfig, or create one \
         (`kubectl config --help`)"
    )]
    MissingKubeconfig(PathBuf),
    /// `KUBECONFIG` is not set, and there is no home folder.
    #[error("no kubeconfig found: set KUBECONFIG to the path of a kubeconfig")]
    NoPath,
    /// The kubeconfig has no current context, and none was asked for.
    #[error(
        "the kubeconfig has no current context: choose one with `--context` or \
         `kubectl config use-context`"
    )]
    NoCurrentContext,
    /// The kubeconfig does not have the context.
    #[error("no context `{name}` in the kubeconfig: expected {}", expected(known))]
    UnknownContext {
        /// The context that was asked for.
        name: String,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// The kubeconfig is malformed, or names a file that cannot be read.
    #[error("invalid kubeconfig: {0}; check it with `kubectl config view`")]
    InvalidKubeconfig(String),
    /// The kubeconfig is well formed, but its TLS or authentication settings are not usable.
    #[error("cannot use the kubeconfig, check its user and certificates")]
    Client(#[source] kube::Error),
}

impl From<KubeconfigError> for ConnectError {
    fn from(error: KubeconfigError) -> Self {
        match error {
            KubeconfigError::ReadConfig(error, path)
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                Self::MissingKubeconfig(path)
            }
            KubeconfigError::FindPath => Self::NoPath,
            KubeconfigError::CurrentContextNotSet => Self::NoCurrentContext,
            KubeconfigError::LoadContext(name) if name.is_empty() => Self::NoCurrentContext,
            KubeconfigError::LoadContext(name) => {
                let kubeconfig = Kubeconfig::read().unwrap_or_default();
                let known = kubeconfig.contexts.into_iter().map(|context| context.name).collect();
                Self::UnknownContext { name, known }
            }
            // Its own text has its cause, and under the first line a picture of the file.
            error => {
                let text = error.to_string();
                Self::InvalidKubeconfig(text.lines().next().unwrap_or_default().to_owned())
            }
        }
    }
}

fn expected(known: &[String]) -> String {
    match known {
        [] => "one that `kubectl config set-context` has created".into(),
        known => format!("`{}`", known.join("`, `")),
    }
}

//! Tokens, kubeconfigs and clients of a cluster.

use std::path::PathBuf;

use anyhow::Context as _;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use skycap::names::{CONTROLLER, NAMESPACE};

use super::Cluster;

impl Cluster {
    /// Writes a kubeconfig with this token, whose context is namespace `shop`, to a file of its own.
    /// Returns the path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn kubeconfig(&self, token: &str) -> anyhow::Result<PathBuf> {
        let file =
            tempfile::Builder::new().prefix("kubeconfig-").tempfile_in(self.folder.path())?;
        serde_json::to_writer(&file, &self.kubeconfig_of(token))?;
        // The folder is temporary, so the file can stay in it.
        Ok(file.into_temp_path().keep()?)
    }

    /// A client with this token.
    ///
    /// # Errors
    /// If the API server has not written its certificate yet.
    pub async fn client_of(&self, token: &str) -> anyhow::Result<Client> {
        let kubeconfig: Kubeconfig = serde_json::from_value(self.kubeconfig_of(token))?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// A token of the controller's ServiceAccount.
    ///
    /// # Errors
    /// If the API server does not issue one.
    pub async fn controller_token(&self) -> anyhow::Result<String> {
        self.token_of(NAMESPACE, CONTROLLER).await
    }

    /// A token of a ServiceAccount, by TokenRequest.
    ///
    /// # Errors
    /// If the API server does not issue one.
    pub async fn token_of(&self, namespace: &str, account: &str) -> anyhow::Result<String> {
        self.token_for(namespace, account, None).await
    }

    /// As [`Self::token_of`], for this audience instead of the API server.
    ///
    /// # Errors
    /// If the API server does not issue one.
    pub async fn token_for(
        &self,
        namespace: &str,
        account: &str,
        audience: Option<&str>,
    ) -> anyhow::Result<String> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let audiences = audience.map(|audience| vec![audience.to_owned()]);
        let spec =
            TokenRequestSpec { audiences, expiration_seconds: Some(3_600), ..<_>::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer =
            accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token);
        token.context("the API server answered a TokenRequest without a token")
    }

    /// The token of cluster-admin.
    #[must_use]
    pub const fn admin_token(&self) -> &'static str {
        ADMIN
    }

    fn kubeconfig_of(&self, token: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}:{}", self.address(), self.port),
                "certificate-authority": self.folder.path().join("certs/apiserver.crt"),
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{
                "name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": "shop"},
            }],
            "current-context": "test",
        })
    }
}

/// The API server's file of static tokens: the one of cluster-admin.
pub(super) fn token_file() -> String {
    format!("{ADMIN},admin,admin,system:masters\n")
}

const ADMIN: &str = "admin-token";

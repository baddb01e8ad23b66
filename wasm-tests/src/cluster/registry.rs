//! A real OCI registry, on this machine and without TLS.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::ensure;
use serde_json::json;

use super::{
    PATIENCE, obtain,
    processes::{Running, command, free_port, kill, spawn},
};
use crate::client;

/// A running registry. Dropping it kills it; its blobs stay in its folder.
#[derive(Debug)]
pub struct Registry {
    /// The address on which it listens.
    pub address: SocketAddr,
    config: std::path::PathBuf,
    child: Option<Running>,
}

impl Registry {
    /// Starts a registry in `folder`. A `locked` one accepts only [`USER`].
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(folder: &Path, locked: bool) -> anyhow::Result<Self> {
        let folder = folder.join(if locked { "locked-registry" } else { "registry" });
        fs::create_dir_all(&folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut config = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.join("blobs")}},
            "http": {"addr": address.to_string()},
        });
        if locked {
            let users = folder.join("htpasswd");
            fs::write(&users, format!("{}:{PASSWORD_HASH}\n", USER.0))?;
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": users}});
        }
        let path = folder.join("config.yml");
        fs::write(&path, config.to_string())?;
        let mut registry = Self { address, config: path, child: None };
        registry.resume().await?;
        Ok(registry)
    }

    /// Starts it again, with its old blobs.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let mut command = command(obtain::registry()?);
        let log = self.config.with_extension("log");
        self.child = Some(spawn(command.arg("serve").arg(&self.config), &log)?);
        let deadline = std::time::Instant::now() + PATIENCE;
        while client::get(self.address, "/v2/").await.is_err() {
            ensure!(std::time::Instant::now() < deadline, "the registry does not start: {log:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Kills it, as in a crash.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        kill(&mut self.child).await
    }
}

/// The name and password of a locked registry.
pub const USER: (&str, &str) = ("porter", "baggage");
/// The password's hash by bcrypt.
const PASSWORD_HASH: &str = "$2b$05$ku9kglcM4Qh5wFSV7TXhVO0fvhsv8WWh1CY/pO6f1SPsvF3hnMTrm";

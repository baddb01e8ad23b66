//! A real Prometheus that reads the metrics of agents and controllers.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::ensure;
use serde_json::{Value, json};

use super::{
    PATIENCE, obtain,
    processes::{Running, command, free_port, spawn},
};
use crate::client;

/// A running Prometheus. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _child: Running,
}

impl Prometheus {
    /// Starts it in `folder`. Every second, it reads `/stats/prometheus` of the agents and `/metrics`
    /// of the controllers.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(
        folder: &Path,
        agents: &[SocketAddr],
        controllers: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let folder = folder.join("prometheus");
        fs::create_dir_all(&folder)?;
        let job = |name: &str, path: &str, targets: &[SocketAddr]| json!({"job_name": name, "metrics_path": path, "static_configs": [{"targets": targets}]});
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                job("agents", "/stats/prometheus", agents),
                job("controllers", "/metrics", controllers),
            ],
        });
        let path = folder.join("prometheus.yml");
        fs::write(&path, config.to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = command(obtain::prometheus()?);
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let child = spawn(&mut command, &folder.join("prometheus.log"))?;
        let deadline = std::time::Instant::now() + PATIENCE;
        while !client::get(address, "/-/ready").await.is_ok_and(|text| text.contains("Ready")) {
            ensure!(std::time::Instant::now() < deadline, "Prometheus does not start");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { address, _child: child })
    }

    /// The result of a query: a vector.
    ///
    /// # Errors
    /// If Prometheus rejects it, with the reason.
    pub async fn query(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query?query={encoded}");
        let answer: Value = serde_json::from_str(&client::get(self.address, &path).await?)?;
        ensure!(answer["status"] == "success", "`{query}`: {}", answer["error"]);
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }
}

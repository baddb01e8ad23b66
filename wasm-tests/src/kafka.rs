//! Real Kafka brokers, as processes: each is broker and controller (KRaft).

mod obtain;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;

pub use self::obtain::obtain;
use crate::cluster::processes::{Running, command, free_port, kill, set_loopback_up, spawn};

/// Some brokers that form a cluster.
#[derive(Debug)]
pub struct Kafka {
    folder: TempDir,
    jars: PathBuf,
    brokers: Vec<Broker>,
}

#[derive(Debug)]
struct Broker {
    /// For clients that need no password.
    port: u16,
    /// For clients with the password [`PASSWORD`].
    sasl_port: u16,
    controller_port: u16,
    running: Option<Running>,
}

impl Kafka {
    /// Starts this many brokers, and waits until they answer.
    ///
    /// # Errors
    /// If Kafka is not available, or a broker does not start.
    pub async fn start(brokers: usize) -> anyhow::Result<Self> {
        set_loopback_up();
        let (folder, jars) = (tempfile::tempdir()?, obtain()?);
        let broker = |_| {
            let (port, sasl_port, controller_port) = (free_port()?, free_port()?, free_port()?);
            Ok(Broker { port, sasl_port, controller_port, running: None })
        };
        let brokers = (0..brokers).map(broker).collect::<anyhow::Result<_>>()?;
        let mut kafka = Self { folder, jars, brokers };
        for index in 0..kafka.brokers.len() {
            kafka.format(index)?;
            kafka.restart(index)?;
        }
        for index in 0..kafka.brokers.len() {
            kafka.wait(index).await?;
        }
        Ok(kafka)
    }

    /// The value of `bootstrap.servers`.
    #[must_use]
    pub fn servers(&self) -> String {
        let servers = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port));
        servers.collect::<Vec<_>>().join(",")
    }

    /// The value of `bootstrap.servers` for clients with a password (SASL/PLAIN, user `skycap`).
    #[must_use]
    pub fn sasl_servers(&self) -> String {
        let servers = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.sasl_port));
        servers.collect::<Vec<_>>().join(",")
    }

    /// Kills a broker, as in a crash.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        kill(&mut self.broker(index)?.running).await
    }

    /// Starts a broker on the data that it has written before.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        let folder = self.data(index);
        let mut command = command("java");
        command
            .args(["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("{}/*", self.jars.display()))
            .arg("kafka.Kafka")
            .arg(folder.join("server.properties"));
        let running = spawn(&mut command, &folder.join("broker.log"))?;
        self.broker(index)?.running = Some(running);
        Ok(())
    }

    /// Waits until a broker accepts connections.
    ///
    /// # Errors
    /// If it does not in time, with the end of its log.
    pub async fn wait(&self, index: usize) -> anyhow::Result<()> {
        let broker = self.brokers.get(index).context("there is no such broker")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.port));
        let accepts = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, accepts).await.map_err(|_| {
            let log = fs::read_to_string(self.data(index).join("broker.log")).unwrap_or_default();
            let start = log.len().saturating_sub(3_000);
            anyhow::anyhow!("the broker is not ready:\n{}", log.get(start..).unwrap_or(&log))
        })
    }

    fn format(&self, index: usize) -> anyhow::Result<()> {
        let (folder, id) = (self.data(index), index + 1);
        let broker = self.brokers.get(index).context("there is no such broker")?;
        let voters = self.brokers.iter().enumerate();
        let voters =
            voters.map(|(at, other)| format!("{}@127.0.0.1:{}", at + 1, other.controller_port));
        let voters = voters.collect::<Vec<_>>().join(",");
        let Broker { port, sasl_port, controller_port, .. } = broker;
        let (replicas, data) = (self.brokers.len(), folder.join("data"));
        let in_sync = replicas.div_ceil(2);
        fs::create_dir_all(&data)?;
        fs::write(
            folder.join("server.properties"),
            format!(
                "process.roles=broker,controller\n\
                 node.id={id}\n\
                 controller.quorum.voters={voters}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl_port},CONTROLLER://127.0.0.1:{controller_port}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl_port}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 listener.name.sasl.sasl.enabled.mechanisms=PLAIN\n\
                 listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                 required user_skycap=\"{PASSWORD}\";\n\
                 log.dirs={}\n\
                 default.replication.factor={replicas}\n\
                 min.insync.replicas={in_sync}\n\
                 offsets.topic.replication.factor={replicas}\n\
                 offsets.topic.num.partitions=4\n\
                 transaction.state.log.replication.factor={replicas}\n\
                 transaction.state.log.min.isr={in_sync}\n\
                 transaction.state.log.num.partitions=4\n\
                 group.initial.rebalance.delay.ms=0\n",
                data.display()
            ),
        )?;
        write_identity(&data, id)
    }

    fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("broker-{index}"))
    }

    fn broker(&mut self, index: usize) -> anyhow::Result<&mut Broker> {
        self.brokers.get_mut(index).context("there is no such broker")
    }
}

/// Writes what `kafka-storage format` writes, without the seconds of another Java.
fn write_identity(data: &Path, id: usize) -> anyhow::Result<()> {
    ensure!(id < 10, "at most 9 brokers");
    let text = format!(
        "version=1\ncluster.id=c2t5Y2FwLXF1ZXVlcy10ZQ\nnode.id={id}\ndirectory.id=c2t5Y2FwLXF1ZXVlcy10{id}Q\n"
    );
    Ok(fs::write(data.join("meta.properties"), text)?)
}

/// The password of the user `skycap`.
pub const PASSWORD: &str = "not-a-secret";
const PATIENCE: Duration = Duration::from_secs(60);

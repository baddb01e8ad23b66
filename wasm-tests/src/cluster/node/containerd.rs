//! containerd: its configuration, the network of Pods, and the import of images.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::json;

use super::{Image, PODS};
use crate::cluster::{Cluster, PATIENCE};

impl Cluster {
    /// Starts containerd and imports the image that holds the namespaces of a Pod.
    pub(super) async fn start_containerd(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path().to_owned();
        fs::create_dir_all(folder.join("cni"))?;
        fs::write(folder.join("cni/10-pods.conflist"), self.network().to_string())?;
        let config = folder.join("containerd.toml");
        fs::write(&config, self.containerd_config()?)?;
        let mut command = self.node_command(self.programs()?.file("usr/bin/containerd"))?;
        self.start_on_node(command.arg("--config").arg(&config), "containerd.log")?;
        let deadline = Instant::now() + PATIENCE;
        while !self.ctr(&["version"]).await.is_ok_and(|output| output.status.success()) {
            ensure!(
                Instant::now() < deadline,
                "containerd does not start:\n{}",
                self.log("containerd.log")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let sleep = PathBuf::from("/usr/bin/sleep");
        let pause = Image::new("pause", 65535)
            .program("/sleep", &sleep, None)?
            .with("Entrypoint", json!(["/sleep", "infinity"]));
        self.import_image("pause", &pause).await
    }

    /// Imports an image, so that Pods can use it by [`Image::reference`].
    ///
    /// # Errors
    /// If containerd rejects it.
    pub async fn import_image(&self, name: &str, image: &Image) -> anyhow::Result<()> {
        let archive = self.folder.path().join(format!("{name}.tar"));
        image.write(&archive)?;
        let path = archive.display().to_string();
        let output = self.ctr(&["--namespace", "k8s.io", "images", "import", &path]).await?;
        fs::remove_file(archive)?;
        ensure!(output.status.success(), "cannot import image `{name}`: {output:?}");
        Ok(())
    }

    async fn ctr(&self, args: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = self.node_command(self.programs()?.file("usr/bin/ctr"))?;
        command.arg("--address").arg(self.folder.path().join("containerd.sock")).args(args);
        Ok(command.output().await?)
    }

    /// The cgroup driver is the kubelet's default. The kernel does not let a container without
    /// CAP_SYS_RESOURCE lower its `oom_score_adj`, and this may be one.
    fn containerd_config(&self) -> anyhow::Result<String> {
        let folder = self.folder.path().display().to_string();
        let programs = self.programs()?;
        let (runc, plugins) = (programs.file("usr/sbin/runc"), programs.file("usr/lib/cni"));
        let pause = Image::reference("pause");
        Ok(format!(
            r#"version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
oom_score = 0
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{}"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "{folder}/cni"
"#,
            runc.display(),
            plugins.display(),
        ))
    }

    /// A bridge with the addresses of Pods.
    fn network(&self) -> serde_json::Value {
        json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": self.folder.path().join("addresses"),
                },
            }],
        })
    }
}

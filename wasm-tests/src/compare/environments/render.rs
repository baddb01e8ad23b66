//! `skycap render sandbox` of many workloads: no cluster.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{row, spread};
use crate::{cluster::program, compare::Row};

/// Renders a sandbox of as many forks as the namespace has workloads.
pub(super) fn render() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (file, manifests) = (folder.path().join("skycap.yaml"), folder.path().join("all.yaml"));
    let (mut spec, mut all) =
        ("sandbox: pr-9\nnamespace: shop\nforks:\n".to_owned(), String::new());
    for number in 0..WORKLOADS {
        writeln!(spec, "  w{number}: {{image: 'registry.example.com/w{number}:2'}}")?;
        all.push_str(&workload(&format!("w{number}")));
    }
    std::fs::write(&file, spec)?;
    std::fs::write(&manifests, all)?;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut command = Command::new(program());
        let command = command.args(["render", "sandbox", "-f"]).arg(&file).arg("--from");
        let output = command.arg(&manifests).output()?;
        times.push(begun.elapsed());
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(text.matches("kind: Deployment").count() == WORKLOADS, "not all are rendered");
    }
    let name = format!("skycap render sandbox, {WORKLOADS} workloads with a Service each");
    Ok(vec![row(name, spread(&mut times)?)])
}

/// A Deployment as a chart makes it, and its Service.
pub(super) fn workload(name: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}, helm.sh/chart: shop-1}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, version: v1}}}}
    spec:
      serviceAccountName: default
      containers:
        - name: {name}
          image: registry.example.com/{name}:1
          ports: [{{name: http, containerPort: 8080}}]
          env: [{{name: LOG_LEVEL, value: info}}, {{name: UPSTREAM, value: 'http://next'}}]
          readinessProbe: {{httpGet: {{path: /ready, port: http}}}}
          resources: {{requests: {{cpu: 100m, memory: 64Mi}}, limits: {{memory: 128Mi}}}}
          volumeMounts: [{{name: tmp, mountPath: /tmp}}]
      volumes: [{{name: tmp, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"
    )
}

const WORKLOADS: usize = 200;
const ROUNDS: usize = 9;

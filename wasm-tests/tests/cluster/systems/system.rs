//! One system: its manifests, its namespace, and a sandbox for each of its workloads.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use skycap::environment::labels::SANDBOX_LABEL;
use skycap_tests::fixture::Fixture;

use super::snapshot::{Snapshot, left, list};

/// A system.
pub(super) struct System {
    /// Its name, and that of its namespace.
    pub(super) name: String,
    objects: Vec<Value>,
}

impl System {
    pub(super) fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut paths: Vec<_> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('@', "-");
            let objects: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path)?)?;
            let name = name.trim_end_matches('-').to_owned();
            anyhow::Ok(Self {
                name,
                objects: objects.into_iter().filter(Value::is_object).collect(),
            })
        };
        paths.iter().map(|path| read(path).with_context(|| path.display().to_string())).collect()
    }

    /// Applies the baseline, forks each workload in a sandbox of its own, and ends all of them. Returns
    /// the workloads that were refused.
    pub(super) async fn hold(&self, fixture: &Fixture) -> anyhow::Result<Vec<String>> {
        self.apply(fixture).await?;
        let before = self.settled(fixture).await?;
        let workloads = self.workloads();
        let (mut forked, mut refused) = (Vec::new(), Vec::new());
        let up = stream::iter(workloads.iter().enumerate()).map(async |(index, workload)| {
            let sandbox = format!("pr-{index}");
            let args = ["up", &sandbox, "-n", &self.name, "--fork", workload, "--no-wait"];
            (workload, sandbox.clone(), fixture.run_skycap(&args).await)
        });
        for (workload, sandbox, output) in up.buffered(3).collect::<Vec<_>>().await {
            let output = output?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => forked.push(sandbox),
                Some(1) if said.contains("nothing was changed") => {
                    println!("{}: {workload} is refused: {}", self.name, said.trim());
                    refused.push(workload.clone());
                }
                _ => anyhow::bail!("{workload}: {output:?}"),
            }
        }
        self.wait_for_forks(fixture, &forked).await?;
        self.a_fork_is_not_forked(fixture).await?;
        let during = Snapshot::read(&fixture.cluster.client, &self.name).await?;
        ensure!(during == before, "beside forks: {:?}", before.difference(&during));
        let down = stream::iter(&forked)
            .map(async |sandbox| fixture.skycap(&["down", sandbox, "-n", &self.name]).await);
        for output in down.buffered(3).collect::<Vec<_>>().await {
            output?;
        }
        fixture
            .until("nothing is left", async |fixture| {
                let left = left(&fixture.cluster.client, &self.name).await?;
                ensure!(left.is_empty(), "{left:?}");
                Ok(true)
            })
            .await?;
        let after = self.settled(fixture).await?;
        ensure!(after == before, "after `down`: {:?}", before.difference(&after));
        println!(
            "{}: {} forked, {} refused, {} objects as before",
            self.name,
            forked.len(),
            refused.len(),
            before.0.len()
        );
        Ok(refused)
    }

    async fn apply(&self, fixture: &Fixture) -> anyhow::Result<()> {
        let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": self.name}});
        fixture
            .apply(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}),
            )
            .await?;
        let named = self.objects.iter().filter_map(|object| {
            object.pointer("/spec/template/spec/serviceAccountName")?.as_str()
        });
        for name in
            named.filter(|name| !name.is_empty()).chain(["default"]).collect::<BTreeSet<_>>()
        {
            fixture.apply(&account(name)).await?;
        }
        for object in &self.objects {
            let mut object = object.clone();
            object["metadata"]["namespace"] = self.name.clone().into();
            if let Err(error) = fixture.apply(&object).await {
                // Kinds of other projects, and objects that no namespace has.
                println!(
                    "{}: not applied: {} {}: {error:#}",
                    self.name, object["kind"], object["metadata"]["name"]
                );
                ensure!(std::env::var_os("SYSTEMS").is_some(), "{error:#}");
            }
        }
        Ok(())
    }

    /// What the controllers have made of the baseline, when they have nothing more to do.
    async fn settled(&self, fixture: &Fixture) -> anyhow::Result<Snapshot> {
        let client = &fixture.cluster.client;
        let mut last = None;
        let mut same = 0;
        for _ in 0..200 {
            let now = Snapshot::read(client, &self.name).await?;
            same = if last.as_ref() == Some(&now) { same + 1 } else { 0 };
            if same >= 5 && self.is_ready(fixture, &now).await? {
                return Ok(now);
            }
            last = Some(now);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        anyhow::bail!("not settled: {last:#?}")
    }

    /// Whether each Pod of the baseline is available, and each autoscaler and budget has a status.
    async fn is_ready(&self, fixture: &Fixture, snapshot: &Snapshot) -> anyhow::Result<bool> {
        let pods =
            list(&fixture.cluster.client, &self.name, "v1", "Pod", &ListParams::default()).await?;
        let running = pods.iter().all(|pod| pod.data["status"]["phase"] == "Running");
        let mut objects = snapshot.0.iter();
        Ok(running
            && objects.all(|(name, object)| {
                let (kind, _) = name.split_once(' ').unwrap_or_default();
                match kind {
                    "HorizontalPodAutoscaler" | "PodDisruptionBudget" => {
                        !object["is"]["conditions"].is_null()
                    }
                    "Deployment" | "StatefulSet" | "ReplicaSet" => {
                        object["is"]["replicas"].as_u64().unwrap_or(0)
                            == object["is"]["availableReplicas"].as_u64().unwrap_or(0)
                            && object["is"]["observedGeneration"] == object["generation"]
                    }
                    "DaemonSet" => {
                        object["is"]["numberReady"] == object["is"]["desiredNumberScheduled"]
                            && object["is"]["observedGeneration"] == object["generation"]
                    }
                    _ => true,
                }
            }))
    }

    /// Waits until the controllers have seen every Pod of the forks: a budget of all of them counts
    /// them, and each Service of a fork has an endpoint.
    async fn wait_for_forks(&self, fixture: &Fixture, forked: &[String]) -> anyhow::Result<()> {
        let budget = json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "forks", "namespace": self.name, "labels": {SANDBOX_LABEL: "all"}},
            "spec": {
                "minAvailable": 0,
                "selector": {"matchExpressions": [{"key": SANDBOX_LABEL, "operator": "Exists"}]},
            },
        });
        fixture.apply(&budget).await?;
        let budgets =
            Api::<PodDisruptionBudget>::namespaced(fixture.cluster.client.clone(), &self.name);
        let forks = ListParams::default().labels(&format!("{SANDBOX_LABEL},{SANDBOX_LABEL}!=all"));
        fixture
            .until("the forks are counted", async |fixture| {
                let status = budgets.get("forks").await?.status.unwrap_or_default();
                let client = &fixture.cluster.client;
                let slices =
                    list(client, &self.name, "discovery.k8s.io/v1", "EndpointSlice", &forks)
                        .await?;
                let is_full = |slice: &kube::core::DynamicObject| {
                    slice.data.pointer("/endpoints/0/conditions/ready") == Some(&Value::Bool(true))
                };
                let services = list(client, &self.name, "v1", "Service", &forks).await?;
                Ok(usize::try_from(status.current_healthy.unwrap_or(0))? == forked.len()
                    && slices.len() == services.len()
                    && slices.iter().all(is_full))
            })
            .await?;
        fixture.delete_object(&budget).await
    }

    /// Of another sandbox, whose objects `up` does not list.
    async fn a_fork_is_not_forked(&self, fixture: &Fixture) -> anyhow::Result<()> {
        let forks = ListParams::default().labels(SANDBOX_LABEL);
        let client = &fixture.cluster.client;
        let forks = list(client, &self.name, "apps/v1", "Deployment", &forks).await?;
        let Some(name) = forks.into_iter().find_map(|fork| fork.metadata.name) else {
            return Ok(());
        };
        let args = ["up", "other", "-n", &self.name, "--fork", &name, "--no-wait"];
        let said = fixture.skycap_fails(&args, 1).await?;
        ensure!(said.contains("it is a fork of sandbox"), "{said}");
        Ok(())
    }

    /// The names of the workloads, as `--fork` takes them.
    fn workloads(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let workloads =
            self.objects.iter().filter(|object| KINDS.contains(&text(&object["kind"]).as_str()));
        workloads
            .map(|object| {
                format!(
                    "{}/{}",
                    text(&object["kind"]).to_lowercase(),
                    text(&object["metadata"]["name"])
                )
            })
            .collect()
    }
}

const KINDS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Rollout"];

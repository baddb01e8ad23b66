//! What the scheduler and a kubelet would write: each Pod is on the node, runs, is ready, has an address,
//! and is gone as soon as it is deleted.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::json;
use tokio::task::JoinHandle;

/// Runs until it is dropped.
pub(super) struct Kubelet(JoinHandle<()>);

impl Kubelet {
    /// Adds a node and runs its Pods.
    pub(super) async fn start(client: Client) -> Result<Self, kube::Error> {
        let nodes = Api::<Node>::all(client.clone());
        let node = Node {
            metadata: ObjectMeta { name: Some(NODE.into()), ..ObjectMeta::default() },
            ..Node::default()
        };
        nodes.create(&PostParams::default(), &node).await?;
        // Admission marks each new node as not ready.
        let patch = Patch::Merge(json!({"spec": {"taints": null}}));
        nodes.patch(NODE, &PatchParams::default(), &patch).await?;
        Ok(Self(tokio::spawn(async move {
            let mut addresses = (1_u32..).map(|number| {
                let [_, high, middle, low] = number.to_be_bytes();
                format!("10.{}.{middle}.{low}", 80 + high)
            });
            loop {
                // Pods come and go meanwhile: what fails is tried again.
                if let Err(error) = run_pods(&client, &mut addresses).await {
                    println!("kubelet: {error}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run_pods(
    client: &Client,
    addresses: &mut impl Iterator<Item = String>,
) -> Result<(), kube::Error> {
    for pod in Api::<Pod>::all(client.clone()).list(&ListParams::default()).await? {
        let namespace = pod.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
        if pod.metadata.deletion_timestamp.is_some() {
            let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            pods.delete(&pod.name_any(), &now).await?;
        } else if pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).is_none() {
            run(&pods, &pod, addresses.next()).await?;
        }
    }
    Ok(())
}

async fn run(pods: &Api<Pod>, pod: &Pod, address: Option<String>) -> Result<(), kube::Error> {
    let name = pod.name_any();
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": NODE});
        let binding = json!({"metadata": {"name": name}, "target": target});
        let params = PostParams::default();
        let _: Status = pods.create_subresource("binding", &name, &params, &binding).await?;
    }
    let now = Timestamp::now().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [condition("ContainersReady"), condition("Ready")],
    }});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

/// The only node.
const NODE: &str = "node-1";

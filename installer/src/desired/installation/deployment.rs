//! The controller's Deployment, Service, PodDisruptionBudget and NetworkPolicy.

use serde_json::{Value, json};

use super::Installation;
use crate::{
    desired::{
        istio::IstioMesh,
        pod::{container_security, pod_name, pod_security, probe, spread},
    },
    names::{APP_LABEL, CONTROLLER, NAMESPACE},
    objects::object,
    table::meshes::MeshKind,
};

impl Installation {
    /// The Deployment, the Service, the PodDisruptionBudget and the NetworkPolicy.
    pub(super) fn controller(&self) -> Vec<Value> {
        let template = json!({
            "metadata": {"labels": selector()},
            "spec": {
                "serviceAccountName": CONTROLLER,
                "securityContext": pod_security(),
                "topologySpreadConstraints": spread(&selector()),
                "containers": [self.container()],
            },
        });
        let deployment = json!({"spec": {
            "replicas": 2,
            "selector": {"matchLabels": selector()},
            "template": template,
        }});
        let budget = json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": selector()}}});
        // For `skycap-queue`, in any namespace, which shows a token there.
        let port = json!({"name": "http-queues", "port": QUEUES_PORT, "targetPort": "queues"});
        let service = json!({"spec": {"selector": selector(), "ports": [port]}});
        // Anybody may scrape; the controller itself calls only the API server and, if it is set, a
        // collector of OpenTelemetry, whose addresses differ from cluster to cluster.
        let ports =
            json!([{"protocol": "TCP", "port": "http"}, {"protocol": "TCP", "port": "queues"}]);
        let network = json!({"spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": ports}],
        }});
        vec![
            object("apps/v1", "Deployment", Some(NAMESPACE), CONTROLLER, deployment),
            object("v1", "Service", Some(NAMESPACE), CONTROLLER, service),
            object("policy/v1", "PodDisruptionBudget", Some(NAMESPACE), CONTROLLER, budget),
            object("networking.k8s.io/v1", "NetworkPolicy", Some(NAMESPACE), CONTROLLER, network),
        ]
    }

    fn container(&self) -> Value {
        json!({
            "name": "controller",
            "image": self.image,
            "args": self.args(),
            "env": [pod_name()],
            "ports": [
                {"name": "http", "containerPort": 8080},
                {"name": "queues", "containerPort": QUEUES_PORT},
            ],
            "livenessProbe": probe("/healthz"),
            "readinessProbe": probe("/readyz"),
            "resources": {
                "requests": {"cpu": "20m", "memory": "48Mi", "ephemeral-storage": "16Mi"},
                "limits": {"memory": "256Mi", "ephemeral-storage": "64Mi"},
            },
            "securityContext": container_security(),
        })
    }

    /// The controller's flags. It does not detect the mesh by itself, because its permissions cover
    /// only the meshes of this installation.
    fn args(&self) -> Vec<String> {
        let IstioMesh { root_namespace, module_url, plugin, pull_secret } = &self.mesh;
        let mut args = vec!["controller".to_owned(), format!("--mesh={}", self.meshes)];
        if self.meshes.has(MeshKind::Istio) {
            args.extend([
                format!("--istio-namespace={root_namespace}"),
                format!("--module-url={module_url}"),
                format!("--plugin={}", plugin.kind().1),
            ]);
            args.extend(pull_secret.iter().map(|name| format!("--module-pull-secret={name}")));
        }
        args
    }
}

fn selector() -> Value {
    json!({APP_LABEL: CONTROLLER})
}

/// The port of the rules of queues, of the container and of the Service.
pub(crate) const QUEUES_PORT: u16 = 8081;

/// The comment above the controller's manifests.
pub(super) const ABOUT: &str = "The controller: two replicas, of which only the leader writes.
# It has no CPU limit, because the kernel would stop a round that a change waits for. Its image is not
# pulled again at each start, because a replica must start while the registry is down; pin the image by
# its digest.";

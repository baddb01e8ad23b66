//! The splitter of a queue: the Deployment of `skycap-queue` and what belongs to it, in the namespace of the
//! queue. Its owner applies it; nothing in it has permissions in Kubernetes.

use serde_json::{Value, json};

use super::{
    installation::QUEUES_PORT,
    pod::{container_security, pod_name, pod_security, probe, spread},
};
use crate::{
    names::{APP_LABEL, CONTROLLER, NAMESPACE, QUEUE_LABEL, SPLITTER},
    objects::object,
};

/// The splitter of one queue.
#[derive(Debug, Clone)]
pub struct Splitter {
    /// The namespace of the queue.
    pub namespace: String,
    /// The name of the queue's ConfigMap.
    pub queue: String,
    /// The image, which is the controller's.
    pub image: String,
    /// The Secret with properties of librdkafka.
    pub secret: Option<String>,
}

impl Splitter {
    /// The objects, in the order in which they must be applied.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let name = format!("{SPLITTER}-{}", self.queue);
        let own = |version: &str, kind: &str, body: Value| {
            object(version, kind, Some(&self.namespace), &name, body)
        };
        let deployment = json!({"spec": {
            "replicas": 2,
            "selector": {"matchLabels": self.labels()},
            "template": {"metadata": {"labels": self.labels()}, "spec": self.pod(&name)},
        }});
        let budget = json!({"spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": self.labels()},
        }});
        // Anybody may scrape. It calls the brokers, whose addresses nobody knows here, and the controller.
        let network = json!({"spec": {
            "podSelector": {"matchLabels": self.labels()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": "http"}]}],
        }});
        vec![
            own("v1", "ServiceAccount", json!({"automountServiceAccountToken": false})),
            own("apps/v1", "Deployment", deployment),
            own("policy/v1", "PodDisruptionBudget", budget),
            own("networking.k8s.io/v1", "NetworkPolicy", network),
        ]
    }

    fn pod(&self, account: &str) -> Value {
        json!({
            "serviceAccountName": account,
            "automountServiceAccountToken": false,
            "securityContext": pod_security(),
            "topologySpreadConstraints": spread(&self.labels()),
            "containers": [self.container()],
            "volumes": self.volumes(),
        })
    }

    fn container(&self) -> Value {
        let mounts = self
            .mounts()
            .map(|(name, path)| json!({"name": name, "mountPath": path, "readOnly": true}));
        let mut args = vec![
            format!("--queue={}/{}", self.namespace, self.queue),
            format!("--controller=http://{CONTROLLER}.{NAMESPACE}:{QUEUES_PORT}"),
        ];
        args.extend(self.secret.as_ref().map(|_| format!("--secret={SECRET_FOLDER}")));
        json!({
            "name": "queue",
            "image": self.image,
            "command": [format!("/{SPLITTER}")],
            "args": args,
            "env": [pod_name()],
            "ports": [{"name": "http", "containerPort": 8080}],
            "livenessProbe": probe("/healthz"),
            "readinessProbe": probe("/readyz"),
            "resources": {
                "requests": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "16Mi"},
                "limits": {"memory": "256Mi", "ephemeral-storage": "64Mi"},
            },
            "securityContext": container_security(),
            "volumeMounts": mounts.collect::<Vec<_>>(),
        })
    }

    /// The folders, by the names of their volumes.
    fn mounts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let secret = self.secret.as_ref().map(|_| ("secret", SECRET_FOLDER));
        [("queue", "/etc/skycap/queue"), ("token", "/var/run/secrets/skycap")]
            .into_iter()
            .chain(secret)
    }

    fn volumes(&self) -> Vec<Value> {
        // For the controller alone: the API server does not accept it.
        let token = json!({"audience": "skycap", "expirationSeconds": 600, "path": "token"});
        let token = json!({"sources": [{"serviceAccountToken": token}]});
        let mut volumes = vec![
            json!({"name": "queue", "configMap": {"name": self.queue}}),
            json!({"name": "token", "projected": token}),
        ];
        let secret = |name| json!({"name": "secret", "secret": {"secretName": name}});
        volumes.extend(self.secret.as_ref().map(secret));
        volumes
    }

    fn labels(&self) -> Value {
        json!({APP_LABEL: SPLITTER, QUEUE_LABEL: self.queue})
    }
}

const SECRET_FOLDER: &str = "/etc/skycap/secret";

/// The comment above the manifests.
pub const ABOUT: &str = "The splitter of a queue, by `skycap render --queue`: two replicas, without permissions in Kubernetes.
# Apply it when the baseline can read `TOPIC.baseline`: README, \"Messages\". It reads the ConfigMap when it starts, so
# restart it after a change. Pin the image by its digest.";

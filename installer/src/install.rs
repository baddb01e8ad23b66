//! What `skycap install` applies, as values: `skycap render` writes the same into a folder, and
//! `deploy/` is what it writes.
//!
//! Rights are the least that work, and a test takes each away in turn: the controller reads
//! ConfigMaps, Services and EndpointSlices everywhere, writes Events, and beyond that writes four
//! objects, each by its name.

use serde_json::{Value, json};

use crate::{
    controller::announce::STATUS,
    controller::lease,
    fragments::KIND_LABEL,
    istio::{DISPATCH_ROUTE, Mesh, PLUGIN, PluginKind},
    objects::{Object, object},
    settings::{NAME, NAMESPACE},
};

/// What an installation is made of.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The mesh that the controller is told of.
    pub mesh: Mesh,
    /// The controller's image.
    pub image: String,
}

/// One file of the rendered folder: its name, what it is about, and its objects.
pub type File = (&'static str, &'static str, Vec<Value>);

impl Installation {
    /// The files, in the order in which they are to be applied.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        vec![
            ("namespace.yaml", "The home of what is skycap's own.", vec![namespace()]),
            ("rbac.yaml", "What the controller may do: the least that works.", self.rights()),
            (
                "admission.yaml",
                "Refuses malformed fragments at `kubectl apply`, by what CEL can see of them.",
                crate::admission::policy(),
            ),
            (
                "settings.yaml",
                "What holds for all sandboxes; all of it is optional.",
                vec![settings()],
            ),
            (
                "controller.yaml",
                "The controller: two replicas, of which one writes.",
                vec![self.deployment(), disruption_budget()],
            ),
        ]
    }

    /// The objects, in the order in which they are to be applied.
    ///
    /// # Errors
    /// None that is known: it is the type's.
    pub fn objects(&self) -> anyhow::Result<Vec<Object>> {
        self.files().into_iter().flat_map(|(_, _, objects)| objects).map(Object::new).collect()
    }

    fn rights(&self) -> Vec<Value> {
        let plugin = match self.mesh.plugin {
            PluginKind::WasmPlugin => "wasmplugins",
            PluginKind::TrafficExtension => "trafficextensions",
        };
        let root = self.mesh.root_namespace.as_str();
        let read = json!(["list", "watch"]);
        let everywhere = vec![
            json!({"apiGroups": [""], "resources": ["configmaps", "namespaces", "services"], "verbs": read}),
            json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read}),
            json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}),
        ];
        // A name cannot restrict `create`: the object has none yet.
        let own = vec![
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}),
            json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [STATUS], "verbs": ["patch"]}),
            json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}),
            json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [lease::NAME], "verbs": ["get", "update"]}),
        ];
        let verbs = json!(["list", "watch", "patch", "delete"]);
        let plugin_verbs = json!(["list", "watch", "patch"]);
        let mesh = vec![
            json!({"apiGroups": ["extensions.istio.io"], "resources": [plugin], "verbs": ["create"]}),
            json!({"apiGroups": ["extensions.istio.io"], "resources": [plugin], "resourceNames": [PLUGIN], "verbs": plugin_verbs}),
            json!({"apiGroups": ["networking.istio.io"], "resources": ["envoyfilters"], "verbs": ["create"]}),
            json!({"apiGroups": ["networking.istio.io"], "resources": ["envoyfilters"], "resourceNames": [DISPATCH_ROUTE], "verbs": verbs}),
        ];
        let account = object("v1", "ServiceAccount", Some(NAMESPACE), CONTROLLER, json!({}));
        let roles = [
            ("ClusterRole", None, everywhere),
            ("Role", Some(NAMESPACE), own),
            ("Role", Some(root), mesh),
        ];
        let roles =
            roles.into_iter().flat_map(|(kind, namespace, rules)| role(kind, namespace, &rules));
        std::iter::once(account).chain(roles).collect()
    }

    fn deployment(&self) -> Value {
        let Mesh { root_namespace, module_url, plugin } = &self.mesh;
        let probe =
            |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 5});
        let container = json!({
            "name": "controller",
            "image": self.image,
            "args": [
                "controller",
                format!("--istio-namespace={root_namespace}"),
                format!("--module-url={module_url}"),
                // Told and not found out: its rights are for this kind alone.
                format!("--plugin={}", plugin.kind().1),
            ],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "livenessProbe": probe("/healthz"),
            "readinessProbe": probe("/readyz"),
            "resources": {
                "requests": {"cpu": "20m", "memory": "48Mi"},
                "limits": {"memory": "256Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
        });
        let spec = json!({
            "replicas": 2,
            "selector": {"matchLabels": selector()},
            "template": {
                "metadata": {"labels": selector()},
                "spec": {
                    "serviceAccountName": CONTROLLER,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": selector()},
                    }],
                    "containers": [container],
                },
            },
        });
        object("apps/v1", "Deployment", Some(NAMESPACE), CONTROLLER, json!({"spec": spec}))
    }
}

fn namespace() -> Value {
    let mut namespace = object("v1", "Namespace", None, NAMESPACE, json!({}));
    // The controller needs no sidecar: it speaks to the API server alone.
    namespace["metadata"]["labels"]["istio-injection"] = "disabled".into();
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted".into();
    namespace
}

fn settings() -> Value {
    let data = json!({
        "enabled": "true",
        "dispatch": "cluster-header",
        "carriers": "- baggage: sandbox\n",
        "onUnavailable": "baseline",
        "explain": "off",
    });
    let mut settings = object("v1", "ConfigMap", Some(NAMESPACE), NAME, json!({"data": data}));
    settings["metadata"]["labels"][KIND_LABEL] = "settings".into();
    settings
}

fn disruption_budget() -> Value {
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": selector()}});
    object("policy/v1", "PodDisruptionBudget", Some(NAMESPACE), CONTROLLER, json!({"spec": spec}))
}

/// A role with these rules, and its binding to the controller.
fn role(kind: &str, namespace: Option<&str>, rules: &[Value]) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let bound = json!({
        "roleRef": {"apiGroup": group, "kind": kind, "name": CONTROLLER},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": CONTROLLER}],
    });
    [
        object(&version, kind, namespace, CONTROLLER, json!({"rules": rules})),
        object(&version, &format!("{kind}Binding"), namespace, CONTROLLER, bound),
    ]
}

fn selector() -> Value {
    json!({"app.kubernetes.io/name": CONTROLLER})
}

/// The name of the controller's objects.
pub const CONTROLLER: &str = "skycap-controller";

//! What `skycap install` applies, as values: `skycap render` writes the same into a folder, and
//! `deploy/` is what it writes.
//!
//! Rights are the least that work, and a test takes each away in turn: the controller reads
//! ConfigMaps, Services and EndpointSlices everywhere, writes Events, and beyond that on Istio six
//! objects, each by its name, and on other meshes HTTPRoutes.

use crate::names::{CONTROLLER, LEASE};
use serde_json::{Value, json};

use super::istio::{IstioMesh, PluginKind};
use crate::{
    names::{CANARY, DISPATCH_ROUTE, KIND_LABEL, NAMESPACE, PLUGIN, SETTINGS, STATUS},
    objects::{Object, object},
    table::meshes::{MeshKind, Meshes},
};

/// What an installation is made of.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The meshes that get the table.
    pub meshes: Meshes,
    /// Where Istio wants its objects, if it is among them.
    pub mesh: IstioMesh,
    /// The controller's image.
    pub image: String,
    /// Whether Istio's proxies are to log requests that have baggage.
    pub access_log: bool,
    /// Whether Istio's proxies are to put a request's baggage on its spans.
    pub spans: bool,
}

/// One file of the rendered folder: its name, what it is about, and its objects.
pub type File = (&'static str, &'static str, Vec<Value>);

impl Installation {
    /// The files, in the order in which they are to be applied.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let mut files = vec![
            ("namespace.yaml", "The home of what is skycap's own.", vec![namespace()]),
            ("rbac.yaml", "What the controller may do: the least that works.", self.rights()),
            (
                "admission.yaml",
                "Refuses malformed fragments at `kubectl apply`, by what CEL can see of them.",
                crate::desired::admission::policy(),
            ),
            (
                "settings.yaml",
                "What holds for all sandboxes; all of it is optional.",
                vec![settings(&self.meshes)],
            ),
            (
                "controller.yaml",
                "The controller: two replicas, of which one writes.",
                vec![self.deployment(), disruption_budget()],
            ),
        ];
        if self.access_log {
            let about = "Logs each request that has baggage, whole, with where it went.";
            files.push(("access-log.yaml", about, vec![self.mesh.access_log()]));
        }
        if self.spans {
            let about = "Puts a request's baggage on its spans. Istio takes one Telemetry for a mesh, the oldest: where \
                         there is one already, add this tag to that.";
            files.push(("spans.yaml", about, vec![self.mesh.span_tag()]));
        }
        files
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
        let mut everywhere = vec![
            json!({"apiGroups": [""], "resources": ["configmaps", "namespaces", "services"], "verbs": read}),
            json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read}),
            json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}),
        ];
        if self.meshes.take_http_routes() {
            let group = "gateway.networking.k8s.io";
            // Their names are made of what they are for, so no name can restrict it.
            let verbs = json!(["list", "watch", "create", "patch", "delete"]);
            everywhere.extend([
                json!({"apiGroups": [group], "resources": ["httproutes"], "verbs": verbs}),
                json!({"apiGroups": [group], "resources": ["grpcroutes"], "verbs": read}),
            ]);
        }
        if self.meshes.has(MeshKind::Linkerd) {
            everywhere.push(json!({"apiGroups": ["linkerd.io"], "resources": ["serviceprofiles"], "verbs": read}));
        }
        // A name cannot restrict `create`: the object has none yet.
        let own = vec![
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}),
            json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [STATUS], "verbs": ["patch"]}),
            json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}),
            json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEASE], "verbs": ["get", "update"]}),
        ];
        let verbs = json!(["list", "watch", "patch", "delete"]);
        // The plugin goes only when the settings leave Istio for another mesh.
        let plugin_verbs = match self.meshes.take_http_routes() {
            true => verbs.clone(),
            false => json!(["list", "watch", "patch"]),
        };
        let mesh = vec![
            json!({"apiGroups": ["extensions.istio.io"], "resources": [plugin], "verbs": ["create"]}),
            json!({"apiGroups": ["extensions.istio.io"], "resources": [plugin], "resourceNames": [PLUGIN], "verbs": plugin_verbs}),
            json!({"apiGroups": ["extensions.istio.io"], "resources": [plugin], "resourceNames": [CANARY], "verbs": verbs}),
            json!({"apiGroups": ["networking.istio.io"], "resources": ["envoyfilters"], "verbs": ["create"]}),
            json!({"apiGroups": ["networking.istio.io"], "resources": ["envoyfilters"], "resourceNames": [DISPATCH_ROUTE, CANARY], "verbs": verbs}),
        ];
        let account = object("v1", "ServiceAccount", Some(NAMESPACE), CONTROLLER, json!({}));
        let istio = self.meshes.has(MeshKind::Istio).then_some(("Role", Some(root), mesh));
        let roles = [("ClusterRole", None, everywhere), ("Role", Some(NAMESPACE), own)];
        let roles = roles
            .into_iter()
            .chain(istio)
            .flat_map(|(kind, namespace, rules)| role(kind, namespace, &rules));
        std::iter::once(account).chain(roles).collect()
    }

    fn deployment(&self) -> Value {
        let IstioMesh { root_namespace, module_url, plugin, pull_secret } = &self.mesh;
        let probe =
            |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 5});
        // Told and not found out: its rights are for these alone.
        let mut args = vec!["controller".to_owned(), format!("--mesh={}", self.meshes)];
        if self.meshes.has(MeshKind::Istio) {
            args.extend([
                format!("--istio-namespace={root_namespace}"),
                format!("--module-url={module_url}"),
                format!("--plugin={}", plugin.kind().1),
            ]);
            args.extend(pull_secret.iter().map(|name| format!("--module-pull-secret={name}")));
        }
        let container = json!({
            "name": "controller",
            "image": self.image,
            "args": args,
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

fn settings(meshes: &Meshes) -> Value {
    let data = json!({
        "enabled": "true",
        "mesh": meshes.to_string(),
        "dispatch": "cluster-header",
        "carriers": "- baggage: sandbox\n",
        "onUnavailable": "baseline",
        "explain": "off",
    });
    let mut settings = object("v1", "ConfigMap", Some(NAMESPACE), SETTINGS, json!({"data": data}));
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

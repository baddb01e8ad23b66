//! The objects that `skycap install` applies, as values. `skycap render` writes the same objects to
//! a folder, and `deploy/` is its output.

mod deployment;
mod rbac;
mod reader;

use serde_json::{Value, json};

pub(crate) use self::{deployment::QUEUES_PORT, rbac::Role};
use super::{admission, istio::IstioMesh};
use crate::{
    names::{KIND_LABEL, NAMESPACE, SETTINGS},
    objects::{Object, object},
    table::meshes::Meshes,
};

/// The parameters of an installation.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The meshes that get the table.
    pub meshes: Meshes,
    /// How skycap's objects look on Istio; unused if Istio is not among the meshes.
    pub mesh: IstioMesh,
    /// The controller's image.
    pub image: String,
    /// The group that gets the reader's roles; `None` if nobody is bound to them.
    pub readers: Option<String>,
    /// Whether Istio's proxies log requests that have baggage.
    pub access_log: bool,
    /// Whether Istio's proxies add a request's baggage to its spans.
    pub spans: bool,
}

/// One file of the rendered folder: its name, a comment about it, and its objects.
pub type File = (&'static str, &'static str, Vec<Value>);

impl Installation {
    /// The files, in the order in which they must be applied.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let mut files = vec![
            ("namespace.yaml", "The namespace of skycap's own objects.", vec![namespace()]),
            // Before the permissions that it limits.
            (
                "admission.yaml",
                "Rejects malformed fragments at `kubectl apply`, and limits what the controller may write.",
                admission::policy()
                    .into_iter()
                    .chain(admission::controller_policy(&self.mesh))
                    .collect(),
            ),
            ("rbac.yaml", "The controller's permissions: only those that it needs.", self.rbac()),
            ("reader.yaml", reader::ABOUT, self.reader()),
            (
                "settings.yaml",
                "The settings for all sandboxes. Every key is optional.",
                vec![settings(&self.meshes)],
            ),
            ("controller.yaml", deployment::ABOUT, self.controller()),
        ];
        if self.access_log {
            let comment = "Logs every request that has baggage: the whole baggage and where the request went.";
            files.push(("access-log.yaml", comment, vec![self.mesh.access_log()]));
        }
        if self.spans {
            let comment = "Adds a request's baggage to its spans. Istio uses only the oldest Telemetry of a mesh: if \
                           the mesh has one already, add this tag to it.";
            files.push(("spans.yaml", comment, vec![self.mesh.span_tag()]));
        }
        files
    }

    /// The objects, in the order in which they must be applied.
    ///
    /// # Errors
    /// Errors of [`Object::new`]; no installation is known to cause one.
    pub fn objects(&self) -> anyhow::Result<Vec<Object>> {
        self.files().into_iter().flat_map(|(_, _, objects)| objects).map(Object::new).collect()
    }
}

fn namespace() -> Value {
    let mut namespace = object("v1", "Namespace", None, NAMESPACE, json!({}));
    // The controller calls only the API server, so it needs no sidecar.
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

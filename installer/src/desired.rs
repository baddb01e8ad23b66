//! The objects that a cluster should hold: the table in the form that each mesh of the settings
//! understands, and the report. The controller, `sync` and the tests all use this module.

pub mod admission;
pub mod chart;
pub mod gateway_api;
pub mod installation;
pub mod istio;
pub mod plan;
mod pod;
pub mod published;
pub mod splitter;

use self::{
    gateway_api::HttpRoutes,
    istio::IstioMesh,
    plan::{Live, Plan},
    published::status,
};
use crate::{
    names::{NAMESPACE, SETTINGS, STATUS},
    objects::{Object, ObjectRef, is_foreign},
    problem::{Problem, Severity},
    table::{
        compile::Compilation,
        input::Input,
        meshes::{MeshKind, Meshes},
        policies::PolicyKind,
        report::Report,
    },
};

/// All objects of skycap that depend on the table.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The objects in the order in which they are written.
    pub objects: Vec<Object>,
    /// The status ConfigMap. It is written on its own: a report that the API server rejects must keep
    /// no route from being written or deleted.
    pub status: Object,
    /// The objects to delete if they exist and are not in `objects`.
    pub unwanted: Vec<ObjectRef>,
    /// The report of the compilation, and the problems that are specific to a mesh.
    pub report: Report,
    /// The size of the largest object in bytes.
    pub bytes: usize,
}

impl Desired {
    /// The objects for `compilation`, on the meshes that the settings name and that skycap is
    /// installed for.
    ///
    /// If the settings or the table are rejected, the objects in the cluster stay.
    ///
    /// # Errors
    /// Errors of `serde_json`; no input is known to cause one.
    pub fn new(
        installed: &Meshes,
        mesh: &IstioMesh,
        input: &Input,
        compilation: &Compilation,
        live: &Live,
    ) -> anyhow::Result<Self> {
        let mut desired =
            Parts { objects: Vec::new(), unwanted: Vec::new(), report: compilation.report.clone() };
        let meshes = input.meshes();
        desired.report.add(not_installed(&meshes, installed));
        if compilation.config.is_some() && installed.has(MeshKind::Istio) {
            desired.add_istio(&meshes, mesh, compilation, live);
        }
        if compilation.config.is_some() && installed.take_http_routes() {
            desired.add_http_routes(&meshes, input, compilation, live);
        }
        let Parts { objects, unwanted, report } = desired;
        let bytes = objects.iter().map(Object::bytes).max().unwrap_or(0);
        let status = status(compilation, &report, bytes)?;
        Ok(Self { objects, status, unwanted, report, bytes })
    }

    /// The plan that turns `live` into these objects; without the status ConfigMap.
    #[must_use]
    pub fn plan(&self, live: &Live) -> Plan {
        Plan::new(self.objects.clone(), &self.unwanted, live)
    }

    /// The plan that writes the status ConfigMap.
    #[must_use]
    pub fn status_plan(&self, live: &Live) -> Plan {
        Plan::new(vec![self.status.clone()], &[], live)
    }
}

/// What the meshes need, before there is a status of it.
struct Parts {
    objects: Vec<Object>,
    unwanted: Vec<ObjectRef>,
    report: Report,
}

impl Parts {
    fn add_istio(
        &mut self,
        meshes: &Meshes,
        mesh: &IstioMesh,
        compilation: &Compilation,
        live: &Live,
    ) {
        if !meshes.has(MeshKind::Istio) {
            self.unwanted.extend(mesh.references());
            return;
        }
        match mesh.objects(compilation, live) {
            Ok(objects) => {
                let (foreign, own): (Vec<_>, Vec<_>) = objects
                    .into_iter()
                    .partition(|object| live.get(&object.reference()).is_some_and(is_foreign));
                self.report.add(foreign.iter().map(foreign_object).collect());
                self.objects.extend(own);
                self.unwanted.extend(mesh.references());
            }
            Err(error) => self.report.refuse_table(&format!("{error:#}")),
        }
    }

    fn add_http_routes(
        &mut self,
        meshes: &Meshes,
        input: &Input,
        compilation: &Compilation,
        live: &Live,
    ) {
        let (_, kind) = PolicyKind::HttpRoute.names();
        let existing = live.keys().filter(|reference| reference.kind == kind);
        let routes = match &compilation.config {
            Some(config) if meshes.take_http_routes() => {
                HttpRoutes::new(config, &input.cluster, &input.policies, meshes)
            }
            _ => HttpRoutes::default(),
        };
        self.unwanted.extend(existing.filter(|reference| !routes.keeps(reference)).cloned());
        self.objects.extend(routes.objects);
        self.report.add(routes.problems);
    }
}

/// The objects of skycap that depend on the table and have fixed names. Its HTTPRoutes are not
/// among them: they are found by their label.
#[must_use]
pub fn named_objects(installed: &Meshes, mesh: &IstioMesh) -> Vec<ObjectRef> {
    let istio = if installed.has(MeshKind::Istio) { mesh.references() } else { Vec::new() };
    let status = ObjectRef::config_map(NAMESPACE, STATUS);
    istio.into_iter().chain([status]).collect()
}

/// The problem with an object that has one of skycap's names but was created by another user.
fn foreign_object(object: &Object) -> Problem {
    Problem::of(
        object.reference(),
        Severity::Refused,
        "metadata.managedFields",
        "skycap did not create this object, so it neither changes nor uses it; rename \
         it, or delete it if it is not needed",
    )
}

/// The problem with meshes of the settings for which skycap has no permissions.
fn not_installed(meshes: &Meshes, installed: &Meshes) -> Vec<Problem> {
    let missing = meshes.without(installed);
    if missing.is_empty() {
        return Vec::new();
    }
    let text = format!(
        "skycap is installed for `{installed}` but not for `{missing}`; run `skycap install --mesh` \
         with all meshes"
    );
    let settings = ObjectRef::config_map(NAMESPACE, SETTINGS);
    vec![Problem::of(settings, Severity::Refused, "data.mesh", text)]
}

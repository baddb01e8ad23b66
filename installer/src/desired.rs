//! What a cluster is to hold: the table in the terms of each mesh that the settings name, and the
//! report. The controller, `sync` and the tests all take it from here.

pub mod admission;
pub mod gateway_api;
pub mod installation;
pub mod istio;
pub mod plan;
pub mod published;

use self::{
    gateway_api::HttpRoutes,
    istio::IstioMesh,
    plan::{Live, Plan},
};
use crate::{
    desired::published::status,
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

/// Everything of skycap's that changes with the table.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The objects, in the order in which they are to be written; the report is the last.
    pub objects: Vec<Object>,
    /// What is to go where it is there and not among the objects.
    pub unwanted: Vec<ObjectRef>,
    /// The compile's report, and what came up in the terms of a mesh.
    pub report: Report,
    /// The bytes of the largest object.
    pub bytes: usize,
}

impl Desired {
    /// What `compilation` wants, on those of the settings' meshes that skycap is installed for.
    ///
    /// Where the settings or the table are refused, what is in place stays.
    ///
    /// # Errors
    /// None that is known: they are the JSON's.
    pub fn new(
        installed: &Meshes,
        mesh: &IstioMesh,
        input: &Input,
        compilation: &Compilation,
        live: &Live,
    ) -> anyhow::Result<Self> {
        let mut desired = Self {
            objects: Vec::new(),
            unwanted: Vec::new(),
            report: compilation.report.clone(),
            bytes: 0,
        };
        let meshes = input.meshes();
        desired.report.add(not_installed(&meshes, installed));
        if compilation.config.is_some() && installed.has(MeshKind::Istio) {
            desired.add_istio(&meshes, mesh, compilation, live);
        }
        if compilation.config.is_some() && installed.take_http_routes() {
            desired.add_http_routes(&meshes, input, compilation, live);
        }
        desired.bytes = desired.objects.iter().map(Object::bytes).max().unwrap_or(0);
        desired.objects.push(status(compilation, &desired.report, desired.bytes)?);
        Ok(desired)
    }

    /// The plan from `live` to this.
    #[must_use]
    pub fn plan(&self, live: &Live) -> Plan {
        Plan::new(self.objects.clone(), &self.unwanted, live)
    }

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
        match mesh.objects(compilation) {
            Ok(mut objects) => {
                let is_foreign =
                    |object: &Object| live.get(&object.reference()).is_some_and(is_foreign);
                self.report.add(objects.iter().filter(|o| is_foreign(o)).map(foreign).collect());
                objects.retain(|object| !is_foreign(object));
                self.objects.extend(objects);
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
        let ours = live.keys().filter(|reference| reference.kind == kind);
        let routes = match &compilation.config {
            Some(config) if meshes.take_http_routes() => {
                HttpRoutes::new(config, &input.cluster, &input.policies, meshes)
            }
            _ => HttpRoutes::default(),
        };
        self.unwanted.extend(ours.filter(|reference| !routes.holds(reference)).cloned());
        self.objects.extend(routes.objects);
        self.report.add(routes.problems);
    }
}

/// skycap's objects that change with the table, as far as their names are known: its HTTPRoutes are
/// known by their label.
#[must_use]
pub fn named_objects(installed: &Meshes, mesh: &IstioMesh) -> Vec<ObjectRef> {
    let istio = if installed.has(MeshKind::Istio) { mesh.references() } else { Vec::new() };
    let status = ObjectRef::config_map(NAMESPACE, STATUS);
    istio.into_iter().chain([status]).collect()
}

/// An object that somebody else has made under a name of skycap's.
fn foreign(object: &Object) -> Problem {
    Problem::of(
        object.reference(),
        Severity::Refused,
        "metadata.managedFields",
        "skycap did not create this object and does not change it, so it does not route by it; \
         rename it, or delete it if it is not needed",
    )
}

/// Meshes of the settings for which skycap has no rights.
fn not_installed(meshes: &Meshes, installed: &Meshes) -> Vec<Problem> {
    let missing = meshes.without(installed);
    let text = format!(
        "skycap is installed for `{installed}` and not for `{missing}`; run `skycap install \
         --mesh` with all of them"
    );
    let settings = ObjectRef::config_map(NAMESPACE, SETTINGS);
    let problem = Problem::of(settings, Severity::Refused, "data.mesh", text);
    if missing.is_empty() { Vec::new() } else { vec![problem] }
}

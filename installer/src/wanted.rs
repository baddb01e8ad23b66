//! What a cluster is to hold: the table in the terms of each mesh that the settings name, and the
//! report. The controller, `sync` and the tests all take it from here.

use crate::{
    compile::Compilation,
    controller::announce,
    gateway_api::{HttpRoutes, policies::PolicyKind},
    input::Input,
    istio::Mesh,
    meshes::{MeshKind, Meshes},
    objects::{Object, ObjectRef, is_foreign},
    plan::{Live, Plan},
    problem::{Problem, Severity},
    report::Report,
    settings::{NAME, NAMESPACE},
};

/// Everything of skycap's that changes with the table.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The objects, in the order in which they are to be written; the report is the last.
    pub objects: Vec<Object>,
    /// What is to go where it is there and not among the objects.
    pub unwanted: Vec<ObjectRef>,
    /// The compile's report, and what came up in the terms of a mesh.
    pub report: Report,
    /// The bytes of the largest object.
    pub bytes: usize,
}

impl Wanted {
    /// What `compilation` wants, on those of the settings' meshes that skycap is installed for.
    ///
    /// Where the settings or the table are refused, what is in place stays.
    ///
    /// # Errors
    /// None that is known: they are the JSON's.
    pub fn new(
        installed: &Meshes,
        mesh: &Mesh,
        input: &Input,
        compilation: &Compilation,
        live: &Live,
    ) -> anyhow::Result<Self> {
        let mut wanted = Self {
            objects: Vec::new(),
            unwanted: Vec::new(),
            report: compilation.report.clone(),
            bytes: 0,
        };
        let meshes = input.meshes();
        wanted.report.add(not_installed(&meshes, installed));
        if compilation.config.is_some() && installed.has(MeshKind::Istio) {
            wanted.add_istio(&meshes, mesh, compilation, live);
        }
        if compilation.config.is_some() && installed.take_http_routes() {
            wanted.add_http_routes(&meshes, input, compilation, live);
        }
        wanted.bytes = wanted.objects.iter().map(Object::bytes).max().unwrap_or(0);
        wanted.objects.push(announce::status(compilation, &wanted.report, wanted.bytes)?);
        Ok(wanted)
    }

    /// The plan from `live` to this.
    #[must_use]
    pub fn plan(&self, live: &Live) -> Plan {
        Plan::new(self.objects.clone(), &self.unwanted, live)
    }

    fn add_istio(&mut self, meshes: &Meshes, mesh: &Mesh, compilation: &Compilation, live: &Live) {
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
pub fn named_objects(installed: &Meshes, mesh: &Mesh) -> Vec<ObjectRef> {
    let istio = if installed.has(MeshKind::Istio) { mesh.references() } else { Vec::new() };
    let status = ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: Some(NAMESPACE.into()),
        name: announce::STATUS.into(),
    };
    istio.into_iter().chain([status]).collect()
}

/// An object that somebody else has made under a name of skycap's.
fn foreign(object: &Object) -> Problem {
    Problem {
        severity: Severity::Refused,
        fragment: object.reference().to_string(),
        source: "cluster".into(),
        field: "metadata.managedFields".into(),
        text: "skycap did not make it, and leaves it as it is, so nothing is routed by it; rename it, \
               or delete it if nobody needs it"
            .into(),
    }
}

/// Meshes of the settings for which skycap has no rights.
fn not_installed(meshes: &Meshes, installed: &Meshes) -> Vec<Problem> {
    let missing = meshes.without(installed);
    let problem = Problem {
        severity: Severity::Refused,
        fragment: format!("{NAMESPACE}/{NAME}"),
        source: "cluster".into(),
        field: "data.mesh".into(),
        text: format!(
            "skycap is installed for `{installed}` and not for `{missing}`; run `skycap install \
             --mesh` with all of them"
        ),
    };
    if missing.is_empty() { Vec::new() } else { vec![problem] }
}

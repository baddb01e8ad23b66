//! The fork of one workload: a pure function of the baseline and of what the sandbox changes.
//!
//! A fork stands beside its baseline in the same namespace. So each label by which a Service, a
//! PodDisruptionBudget or a workload selects the baseline's Pods has another value on the fork's, and all
//! other labels stay: injection, revisions, policies and monitors hold for the fork as for its baseline.
//! An HPA needs no rule of its own, because it counts the Pods of its workload's selector.
//!
//! Everything of the Pod template that the sandbox does not name is kept, including fields that only a
//! newer API knows.

mod copy;

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use self::copy::copy;
pub use self::copy::fingerprint;
use super::{
    affinity::{self, Template},
    baseline::{Baseline, sandbox_of},
    env::Env,
    identity::Identities,
    invalid_fork::InvalidFork,
    labels::{FORK_LABEL, SANDBOX_LABEL, shorten, stamp},
    patch::merge,
    selector::Labels,
    service::{self, service_label},
    spec::ForkSpec,
    template,
    workload::Workload,
};
use crate::{
    names::{MANAGED_BY, MANAGER},
    objects::Object,
};

/// The fork of one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Fork {
    /// The workload of the baseline.
    pub workload: Workload,
    /// The Deployment or StatefulSet that is its fork.
    pub object: Object,
    /// The images that are not those of the baseline, by container.
    pub images: BTreeMap<String, String>,
    /// The Services of the baseline that select the workload's Pods, each with the Service that
    /// replaces it.
    pub services: BTreeMap<String, Object>,
    /// The headless Service of a StatefulSet.
    pub governing: Option<Object>,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

/// The sandbox that a fork is for.
#[derive(Debug, Clone, Copy)]
pub struct Tenant<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The name of the sandbox.
    pub sandbox: &'a str,
    /// Its routing key.
    pub key: &'a str,
    /// The variables of its queues.
    pub variables: &'a BTreeMap<String, String>,
}

impl Fork {
    /// Forks a workload. `resources` are the variables that the sandbox's resources give.
    ///
    /// # Errors
    /// [`InvalidFork`], if the fork would not be one: if the baseline would see it, or cannot be copied.
    pub fn new(
        baseline: &Baseline,
        tenant: Tenant<'_>,
        resources: &Env,
        workload: &Workload,
        spec: &ForkSpec,
    ) -> Result<Self, InvalidFork> {
        let original = find(baseline, workload)?;
        let labels = Baseline::pod_labels(original);
        let serving = service::serving(&baseline.services, &labels)?;
        let mut object = copy(original, tenant, workload)?;
        let queues = tenant.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        template::set_env(&mut object["spec"]["template"]["spec"], queues);
        change(&mut object, original, resources, spec, &workload.name)?;
        let env = [("SKYCAP_SANDBOX", tenant.sandbox), ("SKYCAP_KEY", tenant.key)];
        template::set_env(&mut object["spec"]["template"]["spec"], env.into_iter());
        let identities = Identities::new(baseline, tenant.sandbox, &labels, &pod_labels(&object)?);
        merge(&mut object, &identity(tenant, workload, &identities, &serving, original));
        let pod = &object["spec"]["template"]["spec"];
        template::check_node(pod)?;
        let own = pod_labels(&object)?;
        identities.check(&own)?;
        let mut notes = identities.notes(&own);
        notes.extend(affinity::notes(
            Template { pod: &object["spec"]["template"]["spec"], labels: &own },
            Template { pod: &original.data["spec"]["template"]["spec"], labels: &labels },
            tenant.namespace,
        ));
        notes.extend(template::claims(&object).map(|claim| {
            format!(
                "it mounts the claim `{claim}` of its baseline: both write to the same files, and a \
                 ReadWriteOnce claim keeps both on one node"
            )
        }));
        if serving.is_empty() && tenant.variables.is_empty() {
            notes.push(
                "no Service selects its baseline, so no request reaches it; if it reads from a queue, \
                 it takes messages away from its baseline: give the sandbox that queue with `queues`"
                    .into(),
            );
        }
        let services = service::forks(&serving, tenant)?;
        let governing = service::governing(&mut object, original, tenant)?;
        stamp(&mut object);
        Ok(Self {
            workload: workload.clone(),
            images: changed_images(&object, original),
            object: Object::new(object)
                .map_err(|error| InvalidFork::Malformed(error.to_string()))?,
            services,
            governing,
            notes,
        })
    }

    /// The name of the fork.
    #[must_use]
    pub fn name(&self) -> String {
        self.object.reference().name
    }
}

fn find<'a>(baseline: &'a Baseline, workload: &Workload) -> Result<&'a DynamicObject, InvalidFork> {
    let is_own = |object: &&DynamicObject| sandbox_of(object).is_none();
    let Some(found) = baseline.workloads.get(workload) else {
        if let Some(version) = baseline.outdated.get(&workload.to_string()) {
            let (expected, _) = workload.kind.names();
            return Err(InvalidFork::Outdated { version: version.clone(), expected });
        }
        let known = baseline.workloads.iter().filter(|(_, object)| is_own(object));
        return Err(InvalidFork::NotFound {
            name: workload.to_string(),
            known: known.map(|(workload, _)| workload.to_string()).collect(),
        });
    };
    match sandbox_of(found) {
        Some(sandbox) => Err(InvalidFork::OfFork(sandbox.into())),
        None => Ok(found),
    }
}

/// The images that are not those of the baseline.
fn changed_images(object: &Value, original: &DynamicObject) -> BTreeMap<String, String> {
    let before = template::images(&original.data["spec"]["template"]["spec"]);
    let mut images = template::images(&object["spec"]["template"]["spec"]);
    images.retain(|container, image| before.get(container) != Some(image));
    images
}

/// Applies what the baseline's owner says, then what the resources say, then what the sandbox says.
fn change(
    object: &mut Value,
    original: &DynamicObject,
    resources: &Env,
    spec: &ForkSpec,
    workload: &str,
) -> Result<(), InvalidFork> {
    let annotation = original.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    let declared = annotation.map(|text| ForkSpec::of_annotation(text)).transpose();
    let declared = declared.map_err(InvalidFork::Annotation)?;
    if let Some(declared) = &declared {
        merge_patch(object, &declared.patch);
        template::apply(&mut object["spec"]["template"]["spec"], declared, workload)?;
    }
    let pod = &mut object["spec"]["template"]["spec"];
    template::all_containers(pod).for_each(|container| resources.set(container));
    merge_patch(object, &spec.patch);
    let pod = &mut object["spec"]["template"]["spec"];
    template::all_containers(pod).for_each(|container| resources.add(container));
    template::apply(pod, spec, workload)
}

fn merge_patch(object: &mut Value, patch: &Value) {
    if patch.is_object() {
        merge(object, patch);
    }
}

/// A patch with what makes the fork another workload than its baseline.
fn identity(
    tenant: Tenant<'_>,
    workload: &Workload,
    identities: &Identities<'_>,
    services: &BTreeMap<&str, &DynamicObject>,
    original: &DynamicObject,
) -> Value {
    let own = json!({SANDBOX_LABEL: tenant.sandbox, FORK_LABEL: fork_label(workload)});
    let mut pod = identities.changes();
    merge(&mut pod, &own);
    for service in services.keys() {
        pod[service_label(service)] = tenant.sandbox.into();
    }
    let mut labels = own.clone();
    merge(&mut labels, &json!({MANAGED_BY: MANAGER, BASELINE_LABEL: fingerprint(original)}));
    json!({
        "metadata": {"labels": labels},
        "spec": {"selector": {"matchLabels": own}, "template": {"metadata": {"labels": pod}}},
    })
}

/// The value of [`FORK_LABEL`]. With the kind, since a Deployment and a StatefulSet may share a name.
pub(crate) fn fork_label(workload: &Workload) -> String {
    shorten(&workload.to_string().replace('/', "."))
}

fn pod_labels(object: &Value) -> Result<Labels, InvalidFork> {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let labels = labels.map(serde_json::from_value).transpose();
    let malformed = |error| InvalidFork::Malformed(format!("labels of its Pods: {error}"));
    labels.map(Option::unwrap_or_default).map_err(malformed)
}

/// The annotation of a baseline with what its owner changes in each fork.
pub const ANNOTATION: &str = "skycap.dev/fork";
/// The label of a fork with the [`fingerprint`] of its baseline.
pub const BASELINE_LABEL: &str = "skycap.dev/baseline";

//! What one sandbox gets of a resource.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use skycap_core::names::check_label;

use super::{
    Resource,
    invalid::InvalidResource,
    names::{Names, Uses},
    part::{Part, pointer},
    random, record,
};
use crate::{
    environment::{
        baseline::Baseline,
        env::Env,
        fork::Tenant,
        labels::{SANDBOX_LABEL, resource_in_sandbox, stamp},
        patch::merge,
        selector::{Labels, Purpose},
    },
    names::{MANAGED_BY, MANAGER, RESOURCE_LABEL},
    objects::{Object, ObjectRef},
};

/// What one sandbox gets of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The name of the resource.
    pub resource: String,
    /// The ConfigMap that owns all of it.
    pub record: Object,
    /// The Secrets of the random values, without the values.
    pub secrets: Vec<Object>,
    /// The objects of the manifest.
    pub objects: Vec<Object>,
    /// The object that has to be ready before the forks start.
    pub ready: ObjectRef,
    /// The variables of the forks.
    pub env: Env,
    /// Whether a Job of the controller has to run at the end.
    pub has_delete: bool,
}

impl Instance {
    /// The name of the resource in its sandbox.
    #[must_use]
    pub fn name(&self) -> String {
        self.record.reference().name
    }
}

impl Resource {
    /// What a sandbox gets of the resource.
    ///
    /// # Errors
    /// [`InvalidResource`], if a name is too long, or if something of the baseline or of another sandbox
    /// would select a Pod of the resource.
    pub fn instance(
        &self,
        baseline: &Baseline,
        tenant: Tenant<'_>,
    ) -> Result<Instance, InvalidResource> {
        let name = resource_in_sandbox(&self.name, tenant.sandbox);
        let names = Names { resource: &self.name, name: &name, key: tenant.key };
        let maker = Maker { names, tenant, baseline };
        let (mut objects, mut used, mut ready) = (Vec::new(), BTreeSet::new(), None);
        for part in &self.parts {
            let object = maker.object(part, &mut used)?;
            if self.ready.is(part) {
                ready = Some(object.reference());
            }
            objects.push(object);
        }
        let ready = ready.ok_or_else(|| InvalidResource::new("data.ready", "missing"))?;
        let delete = self.delete.as_ref().map(|job| maker.object(job, &mut used)).transpose()?;
        let (env, in_env) = names.env(&self.env)?;
        let references = in_env.iter().map(|one| random::reference(&self.name, &name, one));
        let env = Env::new(references, &env);
        used.extend(in_env);
        let secrets = used.iter().map(|one| {
            let secret = random::secret(tenant.namespace, tenant.sandbox, &name, one);
            Object::new(secret).map_err(|error| InvalidResource::new("data", error))
        });
        let secrets = secrets.collect::<Result<_, _>>()?;
        let job = delete.as_ref().map(|job| json!(job));
        let record =
            record::record(tenant.namespace, tenant.sandbox, &name, &objects, job.as_ref())?;
        let (resource, has_delete) = (self.name.clone(), delete.is_some());
        Ok(Instance { resource, record, secrets, objects, ready, env, has_delete })
    }
}

/// Makes the objects of one sandbox.
struct Maker<'a> {
    names: Names<'a>,
    tenant: Tenant<'a>,
    baseline: &'a Baseline,
}

impl Maker<'_> {
    /// The object of a part. Adds its random values to `used`.
    fn object(&self, part: &Part, used: &mut BTreeSet<String>) -> Result<Object, InvalidResource> {
        let (mut object, uses) = self.names.object(part)?;
        used.extend(uses.values().flatten().cloned());
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if name.split('.').any(|label| check_label(label).is_err()) {
            let text = format!("`{name}` is no name: expected labels of at most 63 bytes each");
            return Err(InvalidResource::new(&format!("{}.metadata.name", part.field), text));
        }
        let own = json!({SANDBOX_LABEL: self.tenant.sandbox, RESOURCE_LABEL: self.names.name});
        let mut labels = own.clone();
        labels[MANAGED_BY] = MANAGER.into();
        let metadata = json!({"namespace": self.tenant.namespace, "labels": labels});
        merge(&mut object, &json!({"metadata": metadata}));
        if let Some(shape) = part.shape {
            if let Some(selector) = shape.selector {
                self.narrow(&mut object, selector, &part.kind);
            }
            if let Some(template) = shape.template {
                merge_at(&mut object, &format!("{template}.metadata.labels"), &own);
                self.refer(&mut object, template, &uses);
                self.check_pods(&object, template, part)?;
            }
        }
        if part.kind == "StatefulSet" {
            // Their claims have no owner that the garbage collector knows.
            let policy = json!({"whenDeleted": "Delete"});
            merge_at(&mut object, "spec.persistentVolumeClaimRetentionPolicy", &policy);
        }
        stamp(&mut object);
        let invalid = |error| InvalidResource::new(&part.field, error);
        Object::new(object).map_err(invalid)
    }

    /// Adds the resource's own label to a selector, so that it selects no Pod of anybody else. A Service
    /// without a selector has its endpoints from elsewhere.
    fn narrow(&self, object: &mut Value, selector: &str, kind: &str) {
        let found = object.pointer(&pointer(selector)).and_then(Value::as_object);
        if kind == "Service" && found.is_none_or(serde_json::Map::is_empty) {
            return;
        }
        merge_at(object, selector, &json!({RESOURCE_LABEL: self.names.name}));
    }

    /// Gives each container the random values that it refers to.
    fn refer(&self, object: &mut Value, template: &str, uses: &Uses) {
        let pod = if template.is_empty() { "spec".into() } else { format!("{template}.spec") };
        for (container, randoms) in uses {
            let place = format!("{pod}.{}", container.replace('[', ".").replace(']', ""));
            let Some(container) = object.pointer_mut(&pointer(&place)) else { continue };
            let Names { resource, name, .. } = self.names;
            let references = randoms.iter().map(|one| random::reference(resource, name, one));
            Env::new(references, &BTreeMap::new()).set(container);
        }
    }

    /// # Errors
    /// An object of the baseline or of another sandbox would take the Pods for its own.
    fn check_pods(
        &self,
        object: &Value,
        template: &str,
        part: &Part,
    ) -> Result<(), InvalidResource> {
        let field = format!("{template}.metadata.labels");
        let field = field.trim_start_matches('.');
        let labels = object.pointer(&pointer(field)).cloned().unwrap_or_default();
        let field = format!("{}.{field}", part.field);
        let labels: Labels =
            serde_json::from_value(labels).map_err(|error| InvalidResource::new(&field, error))?;
        let taken = self.baseline.selectors.iter().find(|selector| {
            selector.purpose == Purpose::Membership
                && selector.sandbox.as_deref() != Some(self.tenant.sandbox)
                && selector.terms.select(&labels)
        });
        match taken {
            None => Ok(()),
            Some(selector) => {
                let text = format!(
                    "{} selects these Pods as if they were the baseline's; give them labels that no \
                     other Pod has, such as `app: ${{name}}`",
                    selector.object
                );
                Err(InvalidResource::new(&field, text))
            }
        }
    }
}

/// Merges `patch` into the field at `path`, which need not be there.
fn merge_at(object: &mut Value, path: &str, patch: &Value) {
    let fields = path.split('.').filter(|field| !field.is_empty()).rev();
    let patch = fields.fold(patch.clone(), |patch, field| json!({field: patch}));
    merge(object, &patch);
}

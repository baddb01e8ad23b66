//! The record of a resource in a sandbox: a ConfigMap that the sandbox's ConfigMap owns, and that owns
//! everything of the resource. Whoever deletes it deletes the resource, without a right on anything else.
//!
//! It also says what the next `up` cannot know from the files: which objects there are.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::invalid::InvalidResource;
use crate::{
    environment::labels::SANDBOX_LABEL,
    names::RESOURCE_LABEL,
    objects::{Object, ObjectRef, object},
};

/// The record of the resource `name` of a sandbox with these objects.
pub(super) fn record(
    namespace: &str,
    sandbox: &str,
    name: &str,
    objects: &[Object],
    delete: Option<&Value>,
) -> Result<Object, InvalidResource> {
    let objects: Vec<_> = objects.iter().map(Object::reference).collect();
    let mut data = json!({OBJECTS: json!(objects).to_string()});
    if let Some(job) = delete {
        data[DELETE] = job.to_string().into();
    }
    let body = json!({"data": data});
    let mut record = object("v1", "ConfigMap", Some(namespace), name, body);
    record["metadata"]["labels"][SANDBOX_LABEL] = sandbox.into();
    record["metadata"]["labels"][RESOURCE_LABEL] = name.into();
    if delete.is_some() {
        record["metadata"]["finalizers"] = json!([FINALIZER]);
    }
    Object::new(record).map_err(|error| InvalidResource::new("metadata", error))
}

/// The objects that a record lists.
#[must_use]
pub fn objects(record: &DynamicObject) -> BTreeSet<ObjectRef> {
    let text = record.data.pointer(&format!("/data/{OBJECTS}")).and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The key of a record with its objects.
const OBJECTS: &str = "objects";
/// The key of a record with the Job that ends what is outside of the objects.
pub const DELETE: &str = "delete";
/// The finalizer of a record with such a Job.
pub const FINALIZER: &str = "skycap.dev/resources";

//! ConfigMaps of skycap, as old as a test needs them, and what they compile to.

use jiff::Timestamp;
use serde_json::{Value, json};
use skycap::table::{
    compile::{Compilation, compile},
    input::Input,
    manifests::Manifests,
};

pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// A ConfigMap of `kind` that was created `age` seconds before [`NOW`].
pub(crate) fn fragment(kind: &str, namespace: &str, name: &str, age: i64, data: &Value) -> Value {
    let created = NOW - jiff::SignedDuration::from_secs(age);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": namespace, "creationTimestamp": created.to_string(),
            "labels": {"skycap.dev/kind": kind},
        },
        "data": data,
    })
}

/// What these objects compile to at [`NOW`].
pub(crate) fn compiled(objects: &[Value]) -> Compilation {
    let mut manifests = Manifests::default();
    manifests.add(&json!({"kind": "List", "items": objects}).to_string(), "list.json");
    compile(&Input::new(&manifests, NOW), NOW)
}

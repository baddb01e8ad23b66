//! Strategic merge patches of a workload, as `kubectl patch` and kustomize apply them.
//!
//! A patch is merged into JSON and not into k8s-openapi's types: those would lose each field that they
//! do not know, and a fork keeps every field of its baseline. The merge keys are those of the API's
//! types (`patchMergeKey` in `k8s.io/api/core/v1/types.go`); every other list is replaced as a whole.
//! Directives (`$patch: delete` and `$patch: replace`): sig-api-machinery, "Strategic Merge Patch".

use serde_json::{Map, Value};

/// Merges `patch` into `target`. `null` removes a field.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if directive(patch) == Some("replace") || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, patch) in fields.iter().filter(|(name, _)| *name != DIRECTIVE) {
        match (patch, merge_key(name)) {
            (Value::Null, _) => {
                target.remove(name);
            }
            (Value::Array(items), Some(key)) => {
                let list = target.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                merge_items(list, items, key);
            }
            (patch, _) => merge(target.entry(name).or_insert(Value::Null), patch),
        }
    }
}

/// Merges each item into the one with the same value of `key`, or appends it.
fn merge_items(list: &mut Value, items: &[Value], key: &str) {
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(list) = list else { return };
    if items.iter().any(|item| directive(item) == Some("replace") && item.get(key).is_none()) {
        list.clear();
    }
    for item in items {
        let id = item.get(key);
        let place = id.and_then(|id| list.iter().position(|found| found.get(key) == Some(id)));
        match (directive(item), place) {
            (Some("delete"), Some(place)) => drop(list.remove(place)),
            (Some("delete"), None) => {}
            (Some("replace"), None) if id.is_none() => {}
            (_, Some(place)) => merge(&mut list[place], item),
            (_, None) => {
                let mut added = Value::Null;
                merge(&mut added, item);
                list.push(added);
            }
        }
    }
}

fn directive(patch: &Value) -> Option<&str> {
    patch.get(DIRECTIVE)?.as_str()
}

/// The field that identifies an item of a list, by the name of the list.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

const DIRECTIVE: &str = "$patch";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_merge_by_their_keys() {
        for (target, patch, expected) in [
            (
                json!({"a": 1, "b": {"c": 1}}),
                json!({"b": {"d": 2}}),
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
            ),
            (json!({"a": 1}), json!({"a": null, "b": null}), json!({})),
            (json!({"args": [1, 2]}), json!({"args": [3]}), json!({"args": [3]})),
            (
                json!({"containers": [{"name": "a", "image": "1", "x": 1}, {"name": "b"}]}),
                json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "3"}]}),
                json!({"containers": [{"name": "a", "image": "3", "x": 1}, {"name": "b", "image": "2"}]}),
            ),
            (
                json!({"env": [{"name": "A", "value": "1"}]}),
                json!({"env": [{"name": "A", "value": null, "valueFrom": {"k": 1}}, {"name": "B", "$patch": "delete"}]}),
                json!({"env": [{"name": "A", "valueFrom": {"k": 1}}]}),
            ),
            (
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"containers": [{"name": "a", "$patch": "delete"}]}),
                json!({"containers": [{"name": "b"}]}),
            ),
            (
                json!({"volumes": [{"name": "a"}]}),
                json!({"volumes": [{"$patch": "replace"}, {"name": "b"}]}),
                json!({"volumes": [{"name": "b"}]}),
            ),
            (
                json!({"emptyDir": {"medium": "Memory"}}),
                json!({"emptyDir": {"$patch": "replace", "sizeLimit": "1Gi"}}),
                json!({"emptyDir": {"sizeLimit": "1Gi"}}),
            ),
            (
                json!({}),
                json!({"env": [{"name": "A", "b": null}]}),
                json!({"env": [{"name": "A"}]}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} and {patch}");
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} and {patch}, twice");
        }
    }
}

//! The ValidatingAdmissionPolicies: one on fragments and settings, and one on what the controller
//! writes ([`controller_policy`]).
//!
//! The policy on fragments rejects malformed fragments and settings at `kubectl apply`,
//! as far as CEL can check them.
//!
//! The controller rejects the same and more (CEL cannot read the YAML in `routes`), so a cluster
//! without the policy only learns of an error later. Everything that the policy rejects,
//! [`Fragment::parse`](crate::table::fragments::Fragment::parse) and
//! [`Settings::parse`](crate::table::settings::Settings::parse) reject too; a test compares them.

mod checks;
mod controller;
mod envoy_filters;
mod module_pattern;

use serde_json::{Value, json};

use self::checks::{Check, all_checks};
pub use self::controller::controller_policy;
pub(crate) use self::module_pattern::module_pattern;
use crate::{
    names::{FRAGMENTS_POLICY, KIND_LABEL, NAMESPACE, ROLLOUT, SETTINGS},
    objects::object,
};

/// The policy and its binding.
#[must_use]
pub fn policy() -> Vec<Value> {
    let rules = json!([{
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }]);
    let selector = json!({"matchExpressions": [{"key": KIND_LABEL, "operator": "Exists"}]});
    let spec = json!({
        // If the policy cannot be evaluated, it must not block writes.
        "failurePolicy": "Ignore",
        "matchConstraints": {"resourceRules": rules, "objectSelector": selector},
        "matchConditions": [{
            "name": "is-not-rollout",
            "expression": format!(
                "object.metadata.namespace != '{NAMESPACE}' || object.metadata.name != '{ROLLOUT}'"
            ),
        }],
        "variables": [
            {"name": "kind", "expression": format!("object.metadata.labels['{KIND_LABEL}']")},
            {"name": "data", "expression": "has(object.data) ? object.data : {}"},
            {"name": "isSettings", "expression": format!("object.metadata.namespace == '{NAMESPACE}' && object.metadata.name == '{SETTINGS}'")},
        ],
        "validations": all_checks().iter().map(Check::validation).collect::<Vec<_>>(),
    });
    let group = "admissionregistration.k8s.io/v1";
    let binding = json!({"spec": {"policyName": FRAGMENTS_POLICY, "validationActions": ["Deny"]}});
    vec![
        object(group, "ValidatingAdmissionPolicy", None, FRAGMENTS_POLICY, json!({"spec": spec})),
        object(group, "ValidatingAdmissionPolicyBinding", None, FRAGMENTS_POLICY, binding),
    ]
}

//! The endpoints of a CiliumNetworkPolicy: its own, and the peers that it permits. A label may have the prefix
//! of its source (`k8s:app`; docs.cilium.io, "Layer 3 Policies").

use serde_json::{Map, Value};

use crate::environment::selector::Terms;

/// What each selector of the policy selects.
pub(super) fn endpoints(policy: &Value) -> Vec<Terms> {
    let list = policy.get("specs").and_then(Value::as_array).into_iter().flatten();
    let mut found = Vec::new();
    for spec in policy.get("spec").into_iter().chain(list) {
        found.extend(spec.get("endpointSelector").and_then(terms));
        for (rules, peers) in RULES {
            let rules = spec.get(rules).and_then(Value::as_array).into_iter().flatten();
            let peers = rules.filter_map(|rule| rule.get(peers)?.as_array()).flatten();
            found.extend(peers.filter_map(terms));
        }
    }
    found
}

/// What names a namespace asks for a label that no template has, and so selects nothing here.
fn terms(selector: &Value) -> Option<Terms> {
    let mut selector = selector.clone();
    if let Some(labels) = selector.get_mut("matchLabels").and_then(Value::as_object_mut) {
        let all = std::mem::take(labels);
        let plain = all.into_iter().map(|(name, value)| (plain(&name).to_owned(), value));
        *labels = plain.collect::<Map<_, _>>();
    }
    for one in
        selector.get_mut("matchExpressions").and_then(Value::as_array_mut).into_iter().flatten()
    {
        let name = one.get("key").and_then(Value::as_str).map(|name| plain(name).to_owned());
        if let Some(name) = name {
            one["key"] = name.into();
        }
    }
    Terms::of_selector(&selector)
}

/// The name of a label without its source.
fn plain(label: &str) -> &str {
    ["k8s:", "any:"].iter().find_map(|source| label.strip_prefix(source)).unwrap_or(label)
}

const RULES: [(&str, &str); 4] = [
    ("ingress", "fromEndpoints"),
    ("ingressDeny", "fromEndpoints"),
    ("egress", "toEndpoints"),
    ("egressDeny", "toEndpoints"),
];

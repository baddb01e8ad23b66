//! Where objects say which Pods they select, by their kinds.

mod cilium;

use kube::core::DynamicObject;
use serde_json::Value;

use super::sandbox_of;
use crate::{
    environment::selector::{Purpose, Selector, Terms},
    objects::reference_of,
};

/// How an object selects Pods: once, or several times as a NetworkPolicy does.
pub(super) fn selectors(object: &DynamicObject) -> Vec<Selector> {
    let reference = reference_of(object);
    let sandbox = sandbox_of(object).map(str::to_owned);
    let group = reference.api_version.split('/').next();
    let is_source = |source: &&Source| source.kind == reference.kind && Some(source.group) == group;
    let mut selectors = Vec::new();
    for source in SOURCES.iter().filter(is_source) {
        let terms = source.terms(&object.data);
        selectors.extend(terms.into_iter().map(|terms| Selector {
            object: reference.clone(),
            terms,
            purpose: source.purpose,
            sandbox: sandbox.clone(),
        }));
    }
    selectors
}

/// The Pods that a NetworkPolicy permits as peers.
fn peers(policy: &Value) -> Vec<Terms> {
    let rules = [("/spec/ingress", "from"), ("/spec/egress", "to")].into_iter();
    let peers = rules.flat_map(|(rules, peers)| {
        let rules = policy.pointer(rules).and_then(Value::as_array).into_iter().flatten();
        rules.filter_map(move |rule| rule.get(peers)?.as_array()).flatten()
    });
    // A peer in other namespaces is not about the Pods of this one.
    let own = peers.filter(|peer| peer.get("namespaceSelector").is_none());
    own.filter_map(|peer| Terms::of_selector(peer.get("podSelector")?)).collect()
}

/// Where objects of a kind say which Pods they select.
struct Source {
    group: &'static str,
    kind: &'static str,
    path: &'static str,
    form: Form,
    purpose: Purpose,
}

/// How a selector is written.
enum Form {
    /// A map of labels.
    Labels,
    /// `matchLabels` and `matchExpressions`.
    Selector,
    /// The peers of a NetworkPolicy.
    Peers,
    /// The endpoints and peers of a CiliumNetworkPolicy.
    Cilium,
}

impl Source {
    fn terms(&self, object: &Value) -> Vec<Terms> {
        let selector = object.pointer(self.path);
        let terms = match self.form {
            Form::Peers => return peers(object),
            Form::Cilium => return cilium::endpoints(object),
            // A Service without a selector selects nothing; an empty LabelSelector selects everything.
            Form::Labels => {
                selector.and_then(Terms::of_labels).filter(|terms| *terms != Terms::default())
            }
            Form::Selector => selector.and_then(Terms::of_selector),
        };
        terms.into_iter().collect()
    }

    const fn member(group: &'static str, kind: &'static str, form: Form) -> Self {
        Self { group, kind, path: "/spec/selector", form, purpose: Purpose::Membership }
    }

    const fn policy(
        group: &'static str,
        kind: &'static str,
        path: &'static str,
        form: Form,
    ) -> Self {
        Self { group, kind, path, form, purpose: Purpose::Policy }
    }
}

/// The kinds that a fork is read from, with the API version to list: those that it cannot do without,
/// then the ones that only some clusters serve.
pub const REQUIRED: [(&str, &str); 7] = [
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
];
/// See [`REQUIRED`].
pub const OPTIONAL: [(&str, &str); 15] = [
    ("argoproj.io/v1alpha1", "Rollout"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "Sidecar"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("extensions.istio.io/v1alpha1", "TrafficExtension"),
    ("extensions.istio.io/v1alpha1", "WasmPlugin"),
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("policy.linkerd.io/v1beta3", "Server"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
];

/// The kinds that are about Pods of all namespaces if they are in Istio's root namespace.
pub const IN_ROOT: [(&str, &str); 8] = [
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("extensions.istio.io/v1alpha1", "TrafficExtension"),
    ("extensions.istio.io/v1alpha1", "WasmPlugin"),
];

const SOURCES: [Source; 22] = [
    Source::member("v1", "Service", Form::Labels),
    Source::member("v1", "ReplicationController", Form::Labels),
    Source::member("policy", "PodDisruptionBudget", Form::Selector),
    Source::member("apps", "Deployment", Form::Selector),
    Source::member("apps", "StatefulSet", Form::Selector),
    Source::member("apps", "DaemonSet", Form::Selector),
    Source::member("apps", "ReplicaSet", Form::Selector),
    Source::member("argoproj.io", "Rollout", Form::Selector),
    Source {
        group: "networking.istio.io",
        kind: "ServiceEntry",
        path: "/spec/workloadSelector/labels",
        form: Form::Labels,
        purpose: Purpose::Membership,
    },
    Source::policy("networking.k8s.io", "NetworkPolicy", "/spec/podSelector", Form::Selector),
    Source::policy("networking.k8s.io", "NetworkPolicy", "", Form::Peers),
    Source::policy("networking.istio.io", "Sidecar", "/spec/workloadSelector/labels", Form::Labels),
    Source::policy(
        "networking.istio.io",
        "EnvoyFilter",
        "/spec/workloadSelector/labels",
        Form::Labels,
    ),
    Source::policy("security.istio.io", "AuthorizationPolicy", "/spec/selector", Form::Selector),
    Source::policy("security.istio.io", "PeerAuthentication", "/spec/selector", Form::Selector),
    Source::policy("security.istio.io", "RequestAuthentication", "/spec/selector", Form::Selector),
    Source::policy("telemetry.istio.io", "Telemetry", "/spec/selector", Form::Selector),
    Source::policy("extensions.istio.io", "TrafficExtension", "/spec/selector", Form::Selector),
    Source::policy("extensions.istio.io", "WasmPlugin", "/spec/selector", Form::Selector),
    Source::policy("cilium.io", "CiliumNetworkPolicy", "", Form::Cilium),
    Source::policy("policy.linkerd.io", "Server", "/spec/podSelector", Form::Selector),
    Source::policy("monitoring.coreos.com", "PodMonitor", "/spec/selector", Form::Selector),
];

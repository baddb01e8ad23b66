//! What is about a baseline's Pods or Services, and what of it holds for a fork.

use skycap::{
    environment::{
        baseline::Baseline,
        sandbox::Sandbox,
        spec::{ForkSpec, SandboxSpec},
    },
    table::manifests,
};

use super::examples::{ONE, deployment, found, service};

fn object(api_version: &str, kind: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: rule, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn web() -> String {
    deployment("web", "app: web", ONE)
        + &service("web", "{selector: {app: web}, ports: [{port: 80}]}")
}

/// Each object, and the note on it.
#[test]
fn what_is_not_about_the_fork_is_a_note() {
    let networking = "networking.istio.io/v1";
    let peers =
        "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {'k8s:app': web}}]}]}";
    let selector = "{selector: {matchLabels: {app: web}}}";
    for (api_version, kind, spec, note) in [
        (
            networking,
            "DestinationRule",
            "{host: web.shop.svc.cluster.local}",
            "`host: web-pr-9.shop.svc.cluster.local`",
        ),
        (networking, "DestinationRule", "{host: '*.shop.svc.cluster.local'}", ""),
        (networking, "DestinationRule", "{host: web.other}", ""),
        (networking, "VirtualService", "{hosts: [web]}", "its timeouts, retries"),
        (networking, "VirtualService", "{hosts: [web], gateways: [edge]}", ""),
        ("extensions.istio.io/v1alpha1", "WasmPlugin", selector, "add `app=web-pr-9`"),
        ("extensions.istio.io/v1alpha1", "WasmPlugin", "{}", ""),
        ("cilium.io/v2", "CiliumNetworkPolicy", peers, "add `app=web-pr-9`"),
        ("cilium.io/v2", "CiliumNetworkPolicy", "{endpointSelector: {}}", ""),
    ] {
        let manifests = web() + &object(api_version, kind, "shop", spec);
        let (services, notes) = found(&manifests, "web: {}");
        assert_eq!(services, ["web"], "{kind} {spec}");
        let is_told = notes.contains(note) && notes.is_empty() == note.is_empty();
        assert!(is_told, "{kind} {spec}: {notes}");
    }
}

/// In Istio's root namespace, a policy is about all namespaces.
#[test]
fn a_policy_of_the_whole_mesh_is_a_note() -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let policy = "{selector: {matchLabels: {app: web}}}";
    let policy = object("security.istio.io/v1beta1", "AuthorizationPolicy", "istio-system", policy);
    std::fs::write(file.path(), web() + &policy)?;
    let (root, own): (Vec<_>, Vec<_>) = manifests::objects(&[file.path().to_owned()])?
        .into_iter()
        .partition(|object| object.metadata.namespace.as_deref() == Some("istio-system"));
    let mut baseline = Baseline::new(own);
    root.iter().for_each(|object| baseline.add_of_root(object));
    let mut spec = SandboxSpec::new("pr-9")?;
    spec.forks.insert("web".parse()?, ForkSpec::default());
    let sandbox =
        Sandbox::new(&spec, "shop", &baseline).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let notes: Vec<_> = sandbox.all_notes().collect();
    let expected = "AuthorizationPolicy istio-system/rule selects `app=web` and not the fork";
    assert!(notes.iter().any(|note| note.contains(expected)), "{notes:?}");
    Ok(())
}

/// The terms are the baseline's, and the labels are not.
#[test]
fn an_anti_affinity_is_a_note_where_it_holds() {
    let unspread = "web: {patch: {spec: {template: {spec: {affinity: {podAntiAffinity: null}}}}}}";
    let fork =
        "its podAntiAffinity selects its baseline's Pods: they and the fork never share a `node`";
    let both = "the podAntiAffinity of its baseline selects the fork too";
    for (selector, more, forks, notes) in [
        ("app: web", "", "web: {}", &[fork][..]),
        ("app: web", "", unspread, &[]),
        ("tier: front", "", "web: {}", &[fork, both]),
        ("tier: front", "", unspread, &[both]),
        ("app: web", ", matchLabelKeys: [pod-template-hash]", "web: {}", &[]),
        ("app: web", ", namespaces: [other]", "web: {}", &[]),
        ("app: web", ", namespaces: [other], namespaceSelector: {}", "web: {}", &[fork]),
    ] {
        let term =
            format!("{{labelSelector: {{matchLabels: {{{selector}}}}}, topologyKey: node{more}}}");
        let affinity = format!(
            "{{podAntiAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{term}]}}}}"
        );
        let pod = format!("{{containers: [{{name: app}}], affinity: {affinity}}}");
        let manifests = deployment("web", "app: web, tier: front", &pod)
            + &service("web", "{selector: {app: web}, ports: [{port: 80}]}");
        // The workload's own selector has both labels, so both are renamed without this.
        let manifests = manifests.replacen(
            "matchLabels: {app: web, tier: front}",
            "matchLabels: {app: web}",
            1,
        );
        let (services, said) = found(&manifests, forks);
        assert_eq!(services, ["web"], "{selector}{more}");
        let said: Vec<_> = said.lines().filter(|note| note.contains("podAntiAffinity")).collect();
        let is_told =
            said.len() == notes.len() && said.iter().zip(notes).all(|(a, b)| a.contains(b));
        assert!(is_told, "{selector}{more} {forks}: {said:?}");
    }
}

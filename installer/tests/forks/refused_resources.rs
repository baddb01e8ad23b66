//! What a resource cannot be: each is refused before anything is written, with what to do.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::json;
use skycap::{
    environment::{
        baseline::Baseline,
        fork::Tenant,
        resource::{Instance, Resource},
    },
    table::manifests,
};

/// Parses a resource `orders-db`, and makes what sandbox `pr-9` gets of it.
fn instance(data: &serde_json::Value, baseline: &str) -> Result<Instance, String> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "orders-db", "namespace": "shop", "labels": {"skycap.dev/kind": "resource"}},
        "data": data,
    });
    let map: DynamicObject = serde_json::from_value(map).map_err(|error| error.to_string())?;
    let resource = Resource::parse(&map).map_err(|error| error.to_string())?;
    let baseline: Option<DynamicObject> = serde_saphyr::from_str(baseline).ok();
    let variables = BTreeMap::new();
    let tenant = Tenant { namespace: "shop", sandbox: "pr-9", key: "pr-9", variables: &variables };
    resource.instance(&Baseline::new(baseline), tenant).map_err(|error| error.to_string())
}

fn deployment(metadata: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {metadata}\nspec: {{selector: {{matchLabels: \
         {{app: db}}}}, template: {{metadata: {{labels: {{app: db}}}}, spec: {pod}}}}}\n"
    )
}

const NAME: &str = "{name: '${name}'}";
const READY: &str = "deployment/${name}";
const POD: &str = "{containers: [{name: db, image: 'db:1'}]}";

/// Manifests with one thing wrong, and part of what is said about it.
fn manifests() -> Vec<(String, &'static str)> {
    let object = |api_version: &str, kind: &str, name: &str| {
        format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: '{name}'}}\n")
    };
    let pod = |field: &str| deployment(NAME, &format!("{{containers: [{{name: db, {field}}}]}}"));
    vec![
        (deployment("{name: orders-db}", POD), "`orders-db`: expected `${name}`"),
        (deployment("{name: 'x-${name}'}", POD), "expected `${name}`"),
        (deployment("{name: '${name}x'}", POD), "expected `${name}`"),
        (deployment("{generateName: '${name}'}", POD), "expected `${name}`"),
        (
            deployment("{name: '${name}', namespace: other}", POD),
            "data.manifest[0].metadata.namespace: `other` is another namespace: expected `shop`",
        ),
        (
            deployment("{name: '${name}', finalizers: [x]}", POD),
            "metadata.finalizers: cannot be set",
        ),
        (
            deployment("{name: '${name}', labels: {skycap.dev/sandbox: x}}", POD),
            "`skycap.dev/sandbox` is skycap's own",
        ),
        (object("v1", "Namespace", "${name}"), "kind `Namespace` of `v1`"),
        (object("rbac.authorization.k8s.io/v1", "ClusterRole", "${name}"), "kind `ClusterRole`"),
        (object("v1", "PersistentVolume", "${name}"), "kind `PersistentVolume`"),
        (object("networking.istio.io/v1", "EnvoyFilter", "${name}"), "kind `EnvoyFilter`"),
        (object("v1", "Secret", "${name}"), "a Secret cannot be part of a resource"),
        (object("v1", "ConfigMap", "${name}"), "name it `${name}-config`"),
        (deployment(NAME, POD) + "---\n" + &deployment(NAME, POD), "is there twice"),
        ("- a\n".into(), "not an object"),
        ("a: [\n".into(), "data.manifest: invalid YAML at line"),
        ("a: &x 1\nb: *x\n".into(), "invalid YAML"),
        (pod("image: '${nam}'"), "unknown variable `${nam}`; did you mean `${name}`?"),
        (pod("args: ['${PGDATA}']"), "`$${PGDATA}` for a literal one"),
        (pod("args: ['${random.Pass-word}']"), "expected `${name}`, `${key}` or `${random.NAME}`"),
        (
            pod("image: '${random.password}'"),
            "data.manifest[0].spec.template.spec.containers[0].image: `${random.password}` can stand only",
        ),
        (
            deployment(NAME, POD)
                + "---\n"
                + &object("v1", "ConfigMap", "${name}-config")
                + "data: {a: '${random.password}'}\n",
            "data.manifest[1].data.a: `${random.password}` can stand only",
        ),
    ]
}

#[test]
fn what_a_manifest_cannot_have() {
    for (manifest, expected) in manifests() {
        let data = json!({"manifest": manifest, "ready": READY});
        let error = instance(&data, "").err().unwrap_or_default();
        assert!(error.contains(expected), "{manifest}: {error:?} does not say `{expected}`");
    }
}

#[test]
fn what_else_a_resource_cannot_have() {
    let manifest = deployment(NAME, POD);
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: '${name}-end'}\nspec: {template: {spec: {}}}\n";
    let with = |name: &str, value: &str| {
        let mut data = json!({"manifest": manifest, "ready": READY});
        data[name] = value.into();
        data
    };
    for (data, expected) in [
        (json!({"manifest": manifest}), "data.ready: missing: expected `deployment/${name}`"),
        (json!({"ready": READY}), "`deployment/${name}` is not in the manifest"),
        (with("ready", "job/${name}"), "expected `deployment/${name}`"),
        (with("ready", "db"), "data.ready: invalid object `db`"),
        (with("wait", ""), "unknown key `wait`"),
        (with("env", "A: [1]"), "data.env.A: expected"),
        (with("env", "1A: x"), "invalid name of a variable"),
        (with("env", "A: ${PR}"), "data.env.A: unknown variable"),
        (with("delete", &manifest), "data.delete.kind: invalid kind `Deployment`"),
        (with("delete", &job.replace("${name}", "x")), "data.delete.metadata.name"),
    ] {
        let error = instance(&data, "").err().unwrap_or_default();
        assert!(error.contains(expected), "{data}: {error:?} does not say `{expected}`");
    }
    let good = instance(&with("delete", job), "").map(|one| (one.name(), one.has_delete));
    assert_eq!(good, Ok(("orders-db-pr-9".into(), true)));
}

#[test]
fn the_baseline_selects_no_pod_of_a_resource() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: orders-db, namespace: shop}\nspec: {selector: {app: db}}\n";
    let data = json!({"manifest": deployment(NAME, POD), "ready": READY});
    let error = instance(&data, service).err().unwrap_or_default();
    assert!(error.contains("Service shop/orders-db selects these Pods"), "{error}");
}

#[test]
fn the_examples_are_resources() -> anyhow::Result<()> {
    let folder = format!("{}/../deploy/examples/resources", env!("CARGO_MANIFEST_DIR"));
    let objects = manifests::objects(&[folder.into()])?;
    let is_resource = |object: &&DynamicObject| {
        object.types.as_ref().is_some_and(|types| types.kind == "ConfigMap")
    };
    let resources: Vec<_> = objects.iter().filter(is_resource).collect();
    assert!(!resources.is_empty());
    for map in resources {
        let variables = BTreeMap::new();
        let tenant =
            Tenant { namespace: "shop", sandbox: "pr-9", key: "pr-9", variables: &variables };
        Resource::parse(map)?.instance(&Baseline::default(), tenant)?;
    }
    Ok(())
}

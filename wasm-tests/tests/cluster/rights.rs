//! The account that makes sandboxes has exactly the rights that it needs: with all of them, the API
//! server denies it nothing; without any one of them, the API server denies it a request for that verb
//! and resource, or `up` says before it writes anything that this one is missing.

use std::fs;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    environment::labels::{FORK_LABEL, SANDBOX_LABEL},
    names::SANDBOXES,
    objects::resource,
    table::meshes::Meshes,
};
use skycap_tests::{
    cluster::Controller,
    fixture::{Fixture, manifests::endpoints, run},
};

use super::permissions::{Permission, reduced_roles};

#[test]
fn each_right_of_those_who_make_sandboxes_is_needed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        for object in shop() {
            fixture.apply(&object).await?;
        }
        for (name, status) in pods() {
            let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), "shop");
            let patch = Patch::Merge(json!({"status": status}));
            pods.patch_status(name, &PatchParams::default(), &patch).await?;
        }
        let work = Work::new(fixture).await?;
        let whole = work.run(fixture, None).await?;
        anyhow::ensure!(whole.is_empty(), "with all rights: {whole:?}");
        delete_sandbox(fixture).await?;
        let mut tried = 0;
        let objects = roles();
        for role in objects.iter().filter(|object| object["kind"] == "Role") {
            for (permission, reduced) in reduced_roles(role) {
                tried += 1;
                fixture.apply(&reduced).await?;
                let missing = work.run(fixture, Some(&permission)).await?;
                fixture.apply(role).await?;
                delete_sandbox(fixture).await?;
                anyhow::ensure!(missing.is_empty(), "without {permission:?}: {missing:?}");
            }
        }
        println!("{tried} permissions, each of them needed");
        anyhow::ensure!(tried == 38, "{tried} permissions were tried");
        Ok(())
    })
}

/// What `skycap render --role sandboxes -n shop` prints.
fn roles() -> Vec<Value> {
    skycap::environment::rights::sandboxes("shop", &Meshes::default(), "istio-system")
}

/// The work of an account, by the command.
struct Work {
    token: String,
    folder: tempfile::TempDir,
}

impl Work {
    async fn new(fixture: &Fixture) -> anyhow::Result<Self> {
        for object in roles() {
            fixture.apply(&object).await?;
        }
        let folder = tempfile::tempdir()?;
        let file = |forks: &str| format!("sandbox: pr-9\nnamespace: shop\nforks:\n{forks}");
        let (cart, db) = ("  cart: {image: cart:new}\n", "  statefulset/db: {image: db:new}\n");
        fs::write(folder.path().join("both.yaml"), file(&[cart, db].concat()))?;
        fs::write(folder.path().join("cart.yaml"), file(cart))?;
        fs::write(folder.path().join("db.yaml"), file(db))?;
        Ok(Self { token: fixture.cluster.token_of("shop", SANDBOXES).await?, folder })
    }

    /// Makes a sandbox, changes it, waits until it is served, and deletes it. Ends as soon as the
    /// permission is seen to be missing. Returns what is wrong: with a permission that is not there,
    /// that nobody missed it; with all, what was denied.
    async fn run(
        &self,
        fixture: &Fixture,
        permission: Option<&Permission>,
    ) -> anyhow::Result<Vec<String>> {
        let position = fixture.cluster.audit_position()?;
        let mut said = Vec::new();
        for args in STEPS {
            let path = |arg: &&str| match arg.strip_suffix(".yaml") {
                Some(_) => self.folder.path().join(arg).display().to_string(),
                None => (*arg).to_owned(),
            };
            let args: Vec<_> = args.iter().map(path).collect();
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let output = fixture.command_with(&self.token, &args)?.output().await?;
            // Nobody answers for the sidecar that `wait` asks.
            let is_done = output.status.success() || args[0] == "wait";
            anyhow::ensure!(is_done || permission.is_some(), "{args:?}: {output:?}");
            said.push(String::from_utf8(output.stderr)?);
            let denials = fixture.cluster.denials_since(position)?;
            if permission.is_some_and(|permission| {
                let text = format!("{} {}", permission.verb, kind(&permission.resource));
                let is_told = said.iter().any(|said| {
                    said.contains("missing permissions; nothing was changed")
                        && said.contains(&text)
                });
                is_told || denials.iter().any(|denial| permission.was_missing_for(denial))
            }) {
                return Ok(Vec::new());
            }
        }
        let denials = fixture.cluster.denials_since(position)?;
        // It asks for the sidecars of all namespaces first, and makes do with those of its own.
        let is_unexpected = |message: &String| {
            !(message.contains("cannot list resource \"pods\"")
                && message.contains("cluster scope"))
        };
        let mut wrong: Vec<_> = denials.into_iter().map(|denial| denial.message).collect();
        wrong.retain(is_unexpected);
        if permission.is_some() {
            wrong.push(format!("nobody missed it: {said:?}"));
        }
        Ok(wrong)
    }
}

/// Deletes what an interrupted work has left. Its owner's garbage collector does not run here.
async fn delete_sandbox(fixture: &Fixture) -> anyhow::Result<()> {
    let own = ListParams::default().labels(&format!("{SANDBOX_LABEL}=pr-9"));
    for (api_version, kind) in
        [("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("v1", "Service")]
    {
        let api = Api::<DynamicObject>::namespaced_with(
            fixture.cluster.client.clone(),
            "shop",
            &resource(api_version, kind),
        );
        api.delete_collection(&DeleteParams::default(), &own).await?;
    }
    // It may be gone already.
    let _ = fixture.delete("pr-9").await;
    Ok(())
}

/// The steps of the work, in which each right is needed once.
const STEPS: [&[&str]; 5] = [
    &["up", "-f", "both.yaml", "--no-wait", "-o", "json"],
    &["up", "-f", "cart.yaml", "--no-wait", "-o", "json"],
    &["up", "-f", "db.yaml", "--no-wait", "-o", "json"],
    &["wait", "pr-9", "-n", "shop", "--timeout", "1s"],
    &["down", "pr-9", "-n", "shop", "--timeout", "0"],
];

/// How `up` calls what it may not write.
fn kind(resource: &str) -> &str {
    match resource {
        "configmaps" => "ConfigMap",
        "services" => "Service",
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        other => other,
    }
}

/// Two workloads with their Services, and two Pods without a kubelet.
fn shop() -> Vec<Value> {
    let of_shop = |api_version: &str, kind: &str, name: &str, labels: Value, spec: Value| {
        let annotations = json!({"sidecar.istio.io/status": "{}"});
        let metadata = json!({"name": name, "namespace": "shop", "labels": labels, "annotations": annotations});
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    };
    let container = |name: &str| json!({"containers": [{"name": name, "image": name}]});
    let fork = json!({SANDBOX_LABEL: "pr-9", FORK_LABEL: "deployment.cart"});
    let mut account = of_shop("v1", "ServiceAccount", "default", json!({}), Value::Null);
    account.as_object_mut().map(|account| account.remove("spec"));
    let mut objects = vec![
        endpoints("cart-pr-9", true),
        endpoints("db-pr-9", true),
        // Pods need it, and the controller that makes it does not run here.
        account,
        of_shop("v1", "Pod", "sidecar", json!({}), container("istio-proxy")),
        of_shop("v1", "Pod", "crashed", fork, container("cart")),
    ];
    for (kind, name) in [("Deployment", "cart"), ("StatefulSet", "db")] {
        let spec = json!({"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]});
        objects.extend([workload(kind, name), of_shop("v1", "Service", name, json!({}), spec)]);
    }
    objects
}

/// What a kubelet says about the Pods: one has an address for its sidecar, and the other one crashes.
fn pods() -> [(&'static str, Value); 2] {
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let cart = json!({"name": "cart", "image": "cart", "imageID": "", "ready": false, "restartCount": 3, "state": waiting});
    [
        (
            "sidecar",
            json!({"phase": "Running", "podIP": "10.77.0.9", "podIPs": [{"ip": "10.77.0.9"}]}),
        ),
        ("crashed", json!({"phase": "Running", "containerStatuses": [cart]})),
    ]
}

/// A workload with one container.
pub(super) fn workload(kind: &str, name: &str) -> Value {
    let labels = json!({"app": name});
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": format!("{name}:old")}]},
            },
        },
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = name.into();
    }
    workload
}

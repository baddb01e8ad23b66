//! The account that makes sandboxes has exactly the rights that it needs: with all of them, the API
//! server denies it nothing; without any one of them, the API server denies it a request for that verb
//! and resource, or `up` says before it writes anything that this one is missing.

mod resources;
pub(super) mod shop;

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
    environment::{labels::SANDBOX_LABEL, rights},
    names::SANDBOXES,
    objects::resource,
    table::meshes::Meshes,
};
use skycap_tests::{
    cluster::Controller,
    fixture::{Fixture, manifests::install_kind, run},
};

use self::shop::{pods, shop};
use super::permissions::{Permission, reduced_roles};

#[test]
fn each_right_of_those_who_make_sandboxes_is_needed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        // A kind that the cluster does not serve is not asked for.
        for (api_version, kind) in FOREIGN {
            install_kind(fixture, api_version, kind).await?;
        }
        let tried = each_is_needed(fixture, &sandboxes(), &SANDBOX, &pods()).await?;
        anyhow::ensure!(tried == 52, "{tried} permissions were tried");
        Ok(())
    })
}

#[test]
fn each_right_of_a_test_with_a_forward_is_needed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        for object in sandboxes() {
            fixture.apply(&object).await?;
        }
        // Nobody waits for a sidecar that has no address.
        let tried = each_is_needed(fixture, &rights::tests("shop"), &FORWARD, &[]).await?;
        anyhow::ensure!(tried == 4, "{tried} permissions were tried");
        Ok(())
    })
}

/// What `skycap render --role sandboxes -n shop` prints.
fn sandboxes() -> Vec<Value> {
    rights::sandboxes("shop", &Meshes::default(), "istio-system")
}

/// Takes each permission of these roles away in turn. Returns how many there are.
async fn each_is_needed(
    fixture: &Fixture,
    roles: &[Value],
    steps: &[&[&str]],
    pods: &[(&str, Value)],
) -> anyhow::Result<usize> {
    let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
    for object in shop().iter().chain(roles) {
        fixture.apply(object).await?;
    }
    for (name, status) in pods {
        let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), "shop");
        let patch = Patch::Merge(json!({"status": status}));
        pods.patch_status(name, &PatchParams::default(), &patch).await?;
    }
    let work = Work::new(fixture, steps).await?;
    let whole = work.run(fixture, None).await?;
    anyhow::ensure!(whole.is_empty(), "with all rights: {whole:?}");
    delete_sandbox(fixture).await?;
    let mut tried = 0;
    for role in roles.iter().filter(|object| object["kind"] == "Role") {
        for (permission, reduced) in reduced_roles(role) {
            tried += 1;
            fixture.apply(&reduced).await?;
            let wrong = work.run(fixture, Some(&permission)).await?;
            fixture.apply(role).await?;
            delete_sandbox(fixture).await?;
            anyhow::ensure!(wrong.is_empty(), "without {permission:?}: {wrong:?}");
        }
    }
    println!("{tried} permissions, each of them needed");
    Ok(tried)
}

/// The work of an account, by the command.
struct Work<'a> {
    steps: &'a [&'a [&'a str]],
    token: String,
    folder: tempfile::TempDir,
}

impl<'a> Work<'a> {
    async fn new(fixture: &Fixture, steps: &'a [&'a [&'a str]]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |forks: &str| format!("sandbox: pr-9\nnamespace: shop\nforks:\n{forks}");
        let (cart, db) = ("  cart: {image: cart:new}\n", "  statefulset/db: {image: db:new}\n");
        fs::write(
            folder.path().join("both.yaml"),
            file(&[cart, db, "resources: [cache]\n"].concat()),
        )?;
        fs::write(folder.path().join("cart.yaml"), file(cart))?;
        fs::write(folder.path().join("db.yaml"), file(db))?;
        Ok(Self { steps, token: fixture.cluster.token_of("shop", SANDBOXES).await?, folder })
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
        for args in self.steps {
            let path = |arg: &&str| match arg.strip_suffix(".yaml") {
                Some(_) => self.folder.path().join(arg).display().to_string(),
                None => (*arg).to_owned(),
            };
            let args: Vec<_> = args.iter().map(path).collect();
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let output = fixture.command_with(&self.token, &args)?.output().await?;
            // Nobody answers for the sidecar that `wait` asks, or at the Pod of `test`.
            let is_done = output.status.success() || ["wait", "test"].contains(&args[0]);
            anyhow::ensure!(is_done || permission.is_some(), "{args:?}: {output:?}");
            said.push(String::from_utf8(output.stderr)?);
            let denials = fixture.cluster.denials_since(position)?;
            if permission.is_some_and(|permission| {
                let text = format!("{} {}", permission.verb, kind(&permission.resource));
                let of_test = format!("{} {} in shop", permission.verb, permission.resource);
                let is_told = said.iter().any(|said| {
                    said.contains("missing permissions; nothing was changed")
                        && said.contains(&text)
                        || said.contains("missing permissions for `--forward`")
                            && said.contains(&of_test)
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
    for (api_version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("v1", "Service"),
        ("v1", "Secret"),
        ("v1", "ConfigMap"),
    ] {
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
const SANDBOX: [&[&str]; 5] = [
    &["up", "-f", "both.yaml", "--no-wait", "-o", "json"],
    &["up", "-f", "cart.yaml", "--no-wait", "-o", "json"],
    &["up", "-f", "db.yaml", "--no-wait", "-o", "json"],
    &["wait", "pr-9", "-n", "shop", "--timeout", "1s"],
    &["down", "pr-9", "-n", "shop", "--timeout", "0"],
];

/// The kinds beside Kubernetes' and Istio's whose objects select Pods.
const FOREIGN: [(&str, &str); 4] = [
    ("argoproj.io/v1alpha1", "Rollout"),
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("policy.linkerd.io/v1beta3", "Server"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
];

/// A test with a request.
const FORWARD: [&[&str]; 2] = [
    &["up", "-f", "cart.yaml", "--no-wait"],
    &[
        "test",
        "pr-9",
        "-n",
        "shop",
        "--forward",
        "cart:80",
        "--",
        "sh",
        "-c",
        "curl $SKYCAP_URL_CART",
    ],
];

/// How `up` calls what it may not write.
fn kind(resource: &str) -> &str {
    match resource {
        "configmaps" => "ConfigMap",
        "services" => "Service",
        "secrets" => "Secret",
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        other => other,
    }
}

//! The rights by which the controller ends resources: each is needed, and they permit nothing else.

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    environment::{
        labels::SANDBOX_LABEL,
        resource::record::{DELETE, FINALIZER},
        rights,
    },
    names::{RESOURCE_LABEL, SANDBOXES},
};
use skycap_tests::{
    cluster::Controller,
    fixture::{Fixture, run},
};

use super::{
    sandboxes,
    shop::{cache, shop},
};
use crate::permissions::reduced_roles;

#[test]
fn each_right_to_end_resources_is_needed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let roles = rights::resources("shop");
        for object in shop().iter().chain(&sandboxes()).chain(&roles) {
            fixture.apply(object).await?;
        }
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        it_ends(fixture).await?;
        other_config_maps_stay(fixture).await?;
        let mut tried = 0;
        for role in roles.iter().filter(|object| object["kind"] == "Role") {
            for (permission, reduced) in reduced_roles(role) {
                fixture.apply(&reduced).await?;
                let position = fixture.cluster.audit_position()?;
                if permission.resource == "localsubjectaccessreviews" {
                    let said = it_is_asked_for(fixture).await?;
                    anyhow::ensure!(said.contains("you may not ask"), "{said}");
                } else {
                    it_begins_to_end(fixture).await?;
                }
                let is_missed = async |fixture: &Fixture| {
                    succeed(fixture).await?;
                    let denials = fixture.cluster.denials_since(position)?;
                    Ok(denials.iter().any(|denial| permission.was_missing_for(denial)))
                };
                fixture.until(&format!("a denial without {permission:?}"), is_missed).await?;
                fixture.apply(role).await?;
                it_is_over(fixture).await?;
                tried += 1;
            }
        }
        anyhow::ensure!(tried == 4, "{tried} permissions were tried");
        Ok(())
    })
}

/// With all rights.
async fn it_ends(fixture: &Fixture) -> anyhow::Result<()> {
    let position = fixture.cluster.audit_position()?;
    it_begins_to_end(fixture).await?;
    it_is_over(fixture).await?;
    let said = it_is_asked_for(fixture).await?;
    anyhow::ensure!(!said.contains("you may not ask"), "{said}");
    let denials = fixture.cluster.denials_since(position)?;
    anyhow::ensure!(denials.is_empty(), "with all rights: {denials:?}");
    Ok(())
}

/// A record is deleted. As soon as there is the Job of its `delete`, the test says that it has succeeded.
async fn it_begins_to_end(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&record()).await?;
    fixture.delete_object(&record()).await?;
    succeed(fixture).await
}

async fn it_is_over(fixture: &Fixture) -> anyhow::Result<()> {
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop");
    let is_gone = async |fixture: &Fixture| {
        succeed(fixture).await?;
        Ok(maps.get_opt("db-pr-9").await?.is_none())
    };
    fixture.until("the record is gone", is_gone).await?;
    // The garbage collector does not run here.
    let jobs = Api::<Job>::namespaced(fixture.cluster.client.clone(), "shop");
    let _ = jobs.delete("db-pr-9-delete", &DeleteParams::background()).await;
    Ok(())
}

/// What Kubernetes' controller of Jobs would write.
async fn succeed(fixture: &Fixture) -> anyhow::Result<()> {
    let jobs = Api::<Job>::namespaced(fixture.cluster.client.clone(), "shop");
    let Some(job) = jobs.get_opt("db-pr-9-delete").await? else { return Ok(()) };
    if job.status.is_some_and(|status| status.completion_time.is_some()) {
        return Ok(());
    }
    let now = Timestamp::now().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now, "reason": "Test", "message": ""});
    let conditions = [condition("SuccessCriteriaMet"), condition("Complete")];
    let status = json!({"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions, "uncountedTerminatedPods": {}});
    let patch = Patch::Merge(json!({"status": status}));
    jobs.patch_status("db-pr-9-delete", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// `up` of a sandbox whose resource has `delete`, by the account that makes sandboxes.
async fn it_is_asked_for(fixture: &Fixture) -> anyhow::Result<String> {
    let mut resource = cache();
    resource["data"]["delete"] = job("${name}-delete").to_string().into();
    fixture.apply(&resource).await?;
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    let text = "sandbox: pr-8\nnamespace: shop\nresources: [cache]\nforks: {cart: {}}\n";
    std::fs::write(file.path(), text)?;
    let token = fixture.cluster.token_of("shop", SANDBOXES).await?;
    let args = ["up", "-f", &file.path().to_string_lossy(), "--dry-run"];
    let output = fixture.command_with(&token, &args)?.output().await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// RBAC permits the controller to change every ConfigMap of the namespace; admission only the finalizers
/// of records.
async fn other_config_maps_stay(fixture: &Fixture) -> anyhow::Result<()> {
    let mut other = record();
    other["metadata"]["name"] = "other".into();
    other["metadata"]["labels"] = json!({});
    let record = record();
    for map in [&other, &record] {
        fixture.apply(map).await?;
    }
    let token = fixture.cluster.controller_token().await?;
    let stolen = fixture.cluster.client_of(&token).await?;
    let maps = Api::<ConfigMap>::namespaced(stolen, "shop");
    let finalizers = json!({"metadata": {"finalizers": []}});
    for (name, patch, is_permitted) in [
        ("other", &finalizers, false),
        ("db-pr-9", &json!({"data": {"delete": "x"}}), false),
        ("db-pr-9", &json!({"metadata": {"labels": {"x": "y"}}}), false),
        ("db-pr-9", &finalizers, true),
    ] {
        let written = maps.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        if is_permitted {
            written.with_context(|| format!("{name}: {patch}"))?;
        } else {
            let error = written.err().with_context(|| format!("{name}: {patch}"))?.to_string();
            anyhow::ensure!(error.contains("skycap: "), "{error}");
        }
    }
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop");
    maps.patch("other", &PatchParams::default(), &Patch::Merge(&finalizers)).await?;
    for map in [&other, &record] {
        fixture.delete_object(map).await?;
    }
    Ok(())
}

fn record() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "db-pr-9",
            "namespace": "shop",
            "labels": {RESOURCE_LABEL: "db-pr-9", SANDBOX_LABEL: "pr-9"},
            "finalizers": [FINALIZER],
        },
        "data": {DELETE: job("db-pr-9-delete").to_string()},
    })
}

fn job(name: &str) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "drop", "image": "drop"}]});
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": pod}},
    })
}

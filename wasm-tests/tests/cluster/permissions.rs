//! The controller has exactly the permissions that it needs: without any one of them, the API server
//! denies it a request for that verb and resource, and it cannot do its work.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::CONTROLLER,
    objects::{Object, ObjectRef},
    table::meshes::{MeshKind, Meshes},
};
use skycap_tests::{
    cluster::Denial,
    fixture::{Fixture, manifests::install_kind, run, run_on},
};

use super::controller_work::{do_everything, work_on_both_meshes, work_on_istio};

#[test]
fn each_permission_is_needed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let tried = each_is_needed(fixture, |_| true, work_on_istio).await?;
        anyhow::ensure!(tried == 35, "{tried} permissions were tried");
        Ok(())
    })
}

#[test]
fn each_permission_for_routes_is_needed() -> anyhow::Result<()> {
    let both = Meshes::from_iter([MeshKind::Istio, MeshKind::Linkerd]);
    run_on(&both, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        install_kind(fixture, "linkerd.io/v1alpha2", "ServiceProfile").await?;
        let of_routes = |permission: &Permission| {
            let resources = ["httproutes", "grpcroutes", "serviceprofiles"];
            // Without HTTPRoutes, the plugin of all workloads is never deleted.
            let is_plugin_deletion =
                permission.verb == "delete" && permission.names.contains(&"skycap".to_owned());
            resources.contains(&permission.resource.as_str()) || is_plugin_deletion
        };
        let tried = each_is_needed(fixture, of_routes, work_on_both_meshes).await?;
        anyhow::ensure!(tried == 10, "{tried} permissions were tried");
        Ok(())
    })
}

/// A verb on a resource, and the role that grants it.
#[derive(Debug)]
pub(super) struct Permission {
    pub(super) verb: String,
    pub(super) resource: String,
    /// The names of the objects that it is for; empty for all.
    names: Vec<String>,
    /// The role's namespace; `None` for a ClusterRole.
    namespace: Option<String>,
}

impl Permission {
    /// Whether the API server denied a request for lack of this permission.
    pub(super) fn was_missing_for(&self, denial: &Denial) -> bool {
        denial.is_of(&self.verb, &self.resource, self.namespace.as_deref())
            && (self.names.is_empty() || self.names.contains(&denial.name))
    }
}

/// Lets the controller work without a permission, which must not succeed within `seconds` a step.
/// Returns what the API server denied.
async fn work_and_fail(
    fixture: &mut Fixture,
    permission: &Permission,
    work: &impl AsyncFn(&Fixture) -> anyhow::Result<()>,
    seconds: u64,
) -> anyhow::Result<Vec<Denial>> {
    fixture.patience = Duration::from_secs(seconds);
    let position = fixture.cluster.audit_position()?;
    let result = do_everything(fixture, work).await;
    anyhow::ensure!(result.is_err(), "the controller does its work without {permission:?}");
    fixture.cluster.denials_since(position)
}

/// Takes each of these permissions away in turn. Returns how many there are.
async fn each_is_needed(
    fixture: &mut Fixture,
    is_tried: impl Fn(&Permission) -> bool,
    work: impl AsyncFn(&Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    do_everything(fixture, &work).await.context("with all permissions")?;
    let mut tried = 0;
    for role in &roles(fixture)? {
        for (permission, reduced_role) in reduced_roles(role) {
            if !is_tried(&permission) {
                continue;
            }
            tried += 1;
            fixture.apply(&reduced_role).await?;
            // Each step of the work takes a fraction of a second, but on a busy machine the
            // controller may not have come to the request.
            let mut denials = work_and_fail(fixture, &permission, &work, 3).await?;
            if denials.is_empty() {
                denials = work_and_fail(fixture, &permission, &work, 20).await?;
            }
            fixture.apply(role).await?;
            anyhow::ensure!(
                denials.iter().any(|denial| permission.was_missing_for(denial)),
                "without {permission:?}, the API server denied only {denials:?}"
            );
        }
    }
    println!("{tried} permissions, each of them needed");
    Ok(tried)
}

fn roles(fixture: &Fixture) -> anyhow::Result<Vec<Value>> {
    let objects = fixture.installation().objects()?.into_iter();
    let is_role = |object: &Object| {
        let ObjectRef { kind, name, .. } = object.reference();
        kind.ends_with("Role") && name == CONTROLLER
    };
    objects.filter(is_role).map(|object| Ok(serde_json::to_value(object)?)).collect()
}

/// The role without each of its permissions in turn.
pub(super) fn reduced_roles(role: &Value) -> Vec<(Permission, Value)> {
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    let mut reduced = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for resource in texts(&rule["resources"]) {
            for verb in texts(&rule["verbs"]) {
                let mut rules = rules.clone();
                rules.splice(index..=index, without(rule, &resource, &verb));
                let mut role = role.clone();
                role["rules"] = rules.into();
                let permission = Permission {
                    verb,
                    resource: resource.clone(),
                    names: texts(&rule["resourceNames"]),
                    namespace: role["metadata"]["namespace"].as_str().map(str::to_owned),
                };
                reduced.push((permission, role));
            }
        }
    }
    reduced
}

/// The rule without this verb on this resource: the other resources with all verbs, and this one with
/// the other verbs.
fn without(rule: &Value, resource: &str, verb: &str) -> Vec<Value> {
    let others = |field: &str, left_out: &str| -> Value {
        texts(&rule[field]).into_iter().filter(|text| text != left_out).collect()
    };
    let (mut other_resources, mut this_resource) = (rule.clone(), rule.clone());
    other_resources["resources"] = others("resources", resource);
    this_resource["resources"] = json!([resource]);
    this_resource["verbs"] = others("verbs", verb);
    let is_empty = |rule: &Value| ["resources", "verbs"].iter().any(|f| texts(&rule[f]).is_empty());
    [other_resources, this_resource].into_iter().filter(|rule| !is_empty(rule)).collect()
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}

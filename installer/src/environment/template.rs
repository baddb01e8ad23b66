//! The Pod template of a fork: the baseline's, with what the spec changes in it.

use serde_json::{Value, json};

use std::collections::{BTreeMap, BTreeSet};

use super::{invalid_fork::InvalidFork, patch::merge, spec::ForkSpec};

/// Applies images and variables to the Pod spec of `workload`, whose name decides which container an
/// image without a name is for.
///
/// # Errors
/// A container that is not there, or more than one that an image could be for.
pub(super) fn apply(pod: &mut Value, spec: &ForkSpec, workload: &str) -> Result<(), InvalidFork> {
    if let Some(image) = &spec.image {
        let name = only_container(pod, workload)?;
        set_image(pod, &name, image)?;
    }
    for (container, image) in &spec.images {
        set_image(pod, container, image)?;
    }
    set_env(pod, spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(())
}

/// Sets environment variables in all containers, except in init containers that run to their end.
pub(super) fn set_env<'a>(pod: &mut Value, env: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
    let env: Vec<_> =
        env.map(|(name, value)| json!({"name": name, "value": value, "valueFrom": null})).collect();
    if env.is_empty() {
        return;
    }
    let patch = json!({"env": env});
    for container in containers(pod, &["containers"]) {
        merge(container, &patch);
    }
    let sidecars = containers(pod, &["initContainers"]).filter(|container| {
        container.get("restartPolicy").is_some_and(|policy| policy == "Always")
    });
    for container in sidecars {
        merge(container, &patch);
    }
}

/// All containers, those too that run to their end before the others: one that migrates a database must
/// find the same database as the others.
pub(super) fn all_containers(pod: &mut Value) -> impl Iterator<Item = &mut Value> {
    containers(pod, &["containers", "initContainers"])
}

/// # Errors
/// If the Pod uses what only one Pod of a node can have.
pub(super) fn check_node(pod: &Value) -> Result<(), InvalidFork> {
    if pod.get("hostNetwork") == Some(&Value::Bool(true)) {
        return Err(InvalidFork::HostNetwork);
    }
    let lists = ["containers", "initContainers"].into_iter().filter_map(|list| pod.get(list));
    let containers = lists.filter_map(Value::as_array).flatten();
    let ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    let host_ports = ports.filter_map(|port| port.get("hostPort")?.as_u64());
    let taken: BTreeSet<_> = host_ports.filter(|port| *port != 0).collect();
    if taken.is_empty() { Ok(()) } else { Err(InvalidFork::HostPorts(taken)) }
}

/// The image of each container, by its name.
pub(super) fn images(pod: &Value) -> BTreeMap<String, String> {
    let containers = pod.get("containers").and_then(Value::as_array).into_iter().flatten();
    let text = |container: &Value, field| Some(container.get(field)?.as_str()?.to_owned());
    containers.filter_map(|one| Some((text(one, "name")?, text(one, "image")?))).collect()
}

/// The claims that the Pods of a workload mount, and so share with its baseline. A StatefulSet's own
/// claim replaces the volume of its name.
pub(super) fn claims(workload: &Value) -> impl Iterator<Item = &str> {
    let list = |path| workload.pointer(path).and_then(Value::as_array).into_iter().flatten();
    let own: Vec<_> = list("/spec/volumeClaimTemplates")
        .filter_map(|claim| claim.pointer("/metadata/name"))
        .collect();
    let volumes = list("/spec/template/spec/volumes")
        .filter(move |volume| volume.get("name").is_none_or(|name| !own.contains(&name)));
    volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
}

fn set_image(pod: &mut Value, name: &str, image: &str) -> Result<(), InvalidFork> {
    let mut all = containers(pod, &["containers", "initContainers"]);
    if image.is_empty() {
        return Err(InvalidFork::EmptyImage(name.into()));
    }
    match all.find(|container| container.get("name").is_some_and(|found| found == name)) {
        Some(container) => container["image"] = image.into(),
        None => {
            drop(all);
            let known = names(pod, &["containers", "initContainers"]);
            return Err(InvalidFork::NoContainer { name: name.into(), known });
        }
    }
    Ok(())
}

/// The container that an image without a name is for: the only one, or the one that is named as the
/// workload.
fn only_container(pod: &Value, workload: &str) -> Result<String, InvalidFork> {
    let known = names(pod, &["containers"]);
    match &known[..] {
        [only] => Ok(only.clone()),
        all if all.iter().any(|name| name == workload) => Ok(workload.into()),
        _ => Err(InvalidFork::SeveralContainers(known)),
    }
}

fn names(pod: &Value, lists: &[&str]) -> Vec<String> {
    let containers = lists.iter().filter_map(|list| pod.get(list)?.as_array()).flatten();
    containers.filter_map(|container| Some(container.get("name")?.as_str()?.to_owned())).collect()
}

fn containers<'a>(pod: &'a mut Value, lists: &'a [&str]) -> impl Iterator<Item = &'a mut Value> {
    let fields = pod.as_object_mut().into_iter().flatten();
    let wanted = fields.filter(|(name, _)| lists.contains(&name.as_str()));
    wanted.filter_map(|(_, list)| list.as_array_mut()).flatten()
}

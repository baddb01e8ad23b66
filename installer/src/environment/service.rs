//! The Services of a fork: each Service that selects the baseline's Pods gets one that selects the fork's.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::{
    baseline::sandbox_of,
    fork::Tenant,
    invalid_fork::InvalidFork,
    labels::{SANDBOX_LABEL, in_sandbox, shorten, stamp},
    selector::{Labels, Terms},
};
use crate::objects::{Object, object};

/// The Services of the baseline that select Pods with these labels, by name.
///
/// # Errors
/// One of them has the type ExternalName.
pub(super) fn serving<'a>(
    services: &'a [DynamicObject],
    labels: &Labels,
) -> Result<BTreeMap<&'a str, &'a DynamicObject>, InvalidFork> {
    let mut serving = BTreeMap::new();
    for service in services.iter().filter(|service| sandbox_of(service).is_none()) {
        let terms = service.data.pointer("/spec/selector").and_then(Terms::of_labels);
        // A Service without a selector selects nothing.
        let terms = terms.filter(|terms| *terms != Terms::default());
        let name = service.metadata.name.as_deref().unwrap_or_default();
        if !terms.is_some_and(|terms| terms.select(labels)) {
            continue;
        }
        if service.data.pointer("/spec/type").is_some_and(|kind| kind == "ExternalName") {
            return Err(InvalidFork::ExternalName(name.into()));
        }
        // Without ports, a Service only names Pods. The API permits that of headless ones alone.
        if !ports(service).is_empty() {
            serving.insert(name, service);
        }
    }
    Ok(serving)
}

/// The Service that replaces each of `serving` in the sandbox.
///
/// It has the ports and nothing else: annotations would make load balancers and DNS names, and node ports
/// are taken. It has an address even if its baseline is headless, since a mesh routes to a Service's
/// endpoints only then.
///
/// # Errors
/// [`InvalidFork::Malformed`]; no Service is known to cause it.
pub(super) fn forks(
    serving: &BTreeMap<&str, &DynamicObject>,
    tenant: Tenant<'_>,
) -> Result<BTreeMap<String, Object>, InvalidFork> {
    let forks = serving.iter().map(|(name, service)| {
        let selector = json!({SANDBOX_LABEL: tenant.sandbox, service_label(name): tenant.sandbox});
        let spec = json!({"type": "ClusterIP", "selector": selector, "ports": ports(service)});
        let fork = service_object(&in_sandbox(name, tenant.sandbox), tenant, spec)?;
        Ok(((*name).to_owned(), fork))
    });
    forks.collect()
}

/// Gives a StatefulSet a headless Service of its own, by which its Pods have names.
///
/// # Errors
/// [`InvalidFork::Malformed`]; no StatefulSet is known to cause it.
pub(super) fn governing(
    fork: &mut Value,
    original: &DynamicObject,
    tenant: Tenant<'_>,
) -> Result<Option<Object>, InvalidFork> {
    let name = original.data.pointer("/spec/serviceName").and_then(Value::as_str);
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    let name = in_sandbox(&format!("{name}-pods"), tenant.sandbox);
    fork["spec"]["serviceName"] = name.clone().into();
    let selector = &fork["spec"]["selector"]["matchLabels"];
    let spec = json!({"clusterIP": "None", "selector": selector, "publishNotReadyAddresses": true});
    service_object(&name, tenant, spec).map(Some)
}

/// The label of a fork's Pods that a Service of this baseline's name selects. Several workloads of one
/// sandbox may be behind one Service, and one workload behind several.
pub(super) fn service_label(service: &str) -> String {
    format!("service.skycap.dev/{}", shorten(service))
}

fn service_object(name: &str, tenant: Tenant<'_>, spec: Value) -> Result<Object, InvalidFork> {
    let body = json!({"spec": spec});
    let mut service = object("v1", "Service", Some(tenant.namespace), name, body);
    service["metadata"]["labels"][SANDBOX_LABEL] = tenant.sandbox.into();
    stamp(&mut service);
    Object::new(service).map_err(|error| InvalidFork::Malformed(error.to_string()))
}

fn ports(service: &DynamicObject) -> Vec<Value> {
    let ports = service.data.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let kept = ports.filter_map(Value::as_object).map(|port| {
        let kept = port.iter().filter(|(name, _)| PORT_FIELDS.contains(&name.as_str()));
        Value::Object(
            kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>(),
        )
    });
    kept.collect()
}

/// What a Service's port is, without the port of the node.
const PORT_FIELDS: [&str; 5] = ["name", "port", "targetPort", "protocol", "appProtocol"];

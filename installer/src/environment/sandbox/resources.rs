//! What a sandbox gets of its resources, and what its forks get of them.

use std::collections::BTreeMap;

use super::InvalidSandbox;
use crate::environment::{
    baseline::Baseline,
    env::Env,
    fork::Tenant,
    resource::{Instance, Resource},
};

/// What the sandbox gets of each resource. Those that it cannot get are errors.
pub(super) fn instances(
    baseline: &Baseline,
    tenant: Tenant<'_>,
    names: &[String],
    errors: &mut Vec<InvalidSandbox>,
) -> Vec<Instance> {
    let mut instances = Vec::new();
    for name in names {
        let Some(map) = baseline.resources.get(name) else {
            errors.push(InvalidSandbox::NoResource(name.clone()));
            continue;
        };
        match Resource::parse(map).and_then(|resource| resource.instance(baseline, tenant)) {
            Ok(instance) => instances.push(instance),
            Err(error) => errors.push(InvalidSandbox::Resource(name.clone(), error)),
        }
    }
    instances
}

/// The variables of the forks. One that two resources give is an error.
pub(super) fn env(resources: &[Instance], errors: &mut Vec<InvalidSandbox>) -> Env {
    let (mut env, mut seen) = (Env::default(), BTreeMap::new());
    for instance in resources {
        for variable in instance.env.names() {
            if let Some(other) = seen.insert(variable, &instance.resource) {
                errors.push(InvalidSandbox::Variable(
                    variable.to_owned(),
                    other.clone(),
                    instance.resource.clone(),
                ));
            }
        }
        env.extend(&instance.env);
    }
    env
}

//! The variables of a resource: `${name}`, `${key}` and `${random.NAME}`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::{Resource, invalid::InvalidResource, part::Part, random};
use crate::environment::variables::{InvalidVariable, substitute_in};

/// What the variables of a resource stand for in one sandbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// The resource.
    pub(super) resource: &'a str,
    /// The resource in the sandbox.
    pub(super) name: &'a str,
    /// The routing key.
    pub(super) key: &'a str,
}

/// The random values that each container refers to, by its field, such as `spec.containers[0]`.
pub(super) type Uses = BTreeMap<String, BTreeSet<String>>;

impl Names<'_> {
    /// The object of a part, and where it uses random values.
    pub(super) fn object(&self, part: &Part) -> Result<(Value, Uses), InvalidResource> {
        let uses = RefCell::new(Uses::new());
        let pod = part.shape.and_then(|shape| shape.template).map(|template| {
            let template = if template.is_empty() { String::new() } else { format!("{template}.") };
            format!("{}.{template}spec.", part.field)
        });
        let lookup = |field: &str, name: &str| match name.strip_prefix(RANDOM) {
            None => self.plain(name),
            Some(random) => {
                let container = container_of(field.strip_prefix(pod.as_deref()?)?)?;
                let mut uses = uses.borrow_mut();
                uses.entry(container.to_owned()).or_default().insert(random.to_owned());
                Some(format!("$({})", random::variable(self.resource, random)))
            }
        };
        let value = substitute_in(part.value.clone(), &part.field, is_name, &lookup);
        let value = value.map_err(|errors| rejection(&errors))?;
        Ok((value, uses.into_inner()))
    }

    /// The environment variables of the forks, and the random values in them.
    pub(super) fn env(
        &self,
        env: &BTreeMap<String, String>,
    ) -> Result<(BTreeMap<String, String>, BTreeSet<String>), InvalidResource> {
        let used = RefCell::new(BTreeSet::new());
        let lookup = |_: &str, name: &str| match name.strip_prefix(RANDOM) {
            None => self.plain(name),
            Some(random) => {
                used.borrow_mut().insert(random.to_owned());
                Some(format!("$({})", random::variable(self.resource, random)))
            }
        };
        let mut replaced = BTreeMap::new();
        for (name, value) in env {
            let field = format!("data.env.{name}");
            let value = substitute_in(value.clone().into(), &field, is_name, &lookup);
            let value = value.map_err(|errors| rejection(&errors))?;
            replaced.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        Ok((replaced, used.into_inner()))
    }

    fn plain(&self, variable: &str) -> Option<String> {
        match variable {
            "name" => Some(self.name.to_owned()),
            "key" => Some(self.key.to_owned()),
            _ => None,
        }
    }
}

/// # Errors
/// A variable that nothing knows, or a random value where no container reads it.
pub(super) fn check_variables(resource: &Resource) -> Result<(), InvalidResource> {
    let names = Names { resource: &resource.name, name: "x", key: "x" };
    for part in resource.all_parts() {
        names.object(part)?;
    }
    names.env(&resource.env).map(drop)
}

/// The container whose environment variables the kubelet puts into this field of a Pod's `spec`.
fn container_of(field: &str) -> Option<&str> {
    let (container, field) = field.split_once('.')?;
    let is_container =
        container.starts_with("containers[") || container.starts_with("initContainers[");
    let is_read = field.starts_with("command[") || field.starts_with("args[");
    let is_env = field.starts_with("env[") && field.ends_with("].value");
    (is_container && (is_read || is_env)).then_some(container)
}

fn rejection(errors: &[InvalidVariable]) -> InvalidResource {
    let Some(first) = errors.first() else { return InvalidResource::new("data", "invalid") };
    match first {
        InvalidVariable::Unset { field, name } => InvalidResource::new(field, unknown(name)),
        InvalidVariable::Malformed { field, text } => {
            let text = format!(
                "invalid variable in `{text}`: expected {EXPECTED}; write `$${{` for a literal `${{`"
            );
            InvalidResource::new(field, text)
        }
    }
}

fn unknown(name: &str) -> String {
    if name.starts_with(RANDOM) {
        return format!(
            "`${{{name}}}` can stand only in `command`, `args` and values of `env` of a container, \
             which the kubelet fills in: no object may hold a password"
        );
    }
    let known = ["name", "key", "random.password"];
    let hint = match similar::get_close_matches(name, &known, 1, 0.6).first() {
        Some(nearest) => format!("did you mean `${{{nearest}}}`?"),
        None => format!("expected {EXPECTED}"),
    };
    format!("unknown variable `${{{name}}}`; {hint} Write `$${{{name}}}` for a literal one")
}

/// A name as POSIX has it for the environment, which a script may use, or a random value. That has no
/// `-` and no `_`: it is part of the names of a Secret and of a variable.
fn is_name(name: &str) -> bool {
    match name.strip_prefix(RANDOM) {
        None => crate::environment::variables::is_name(name),
        Some(random) => {
            let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            (1..=RANDOM_BYTES).contains(&random.len()) && random.bytes().all(is_inner)
        }
    }
}

const RANDOM: &str = "random.";
/// Maximum bytes of a random value's name.
const RANDOM_BYTES: usize = 20;
const EXPECTED: &str = "`${name}`, `${key}` or `${random.NAME}` with a name of `a-z 0-9`";

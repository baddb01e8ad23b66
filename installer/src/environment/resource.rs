//! Resources: what a sandbox has besides its forks, such as a database of its own. Section 11 of the
//! contract.
//!
//! A resource is a ConfigMap in the namespace, and the same for all sandboxes. [`Instance`] is what one
//! sandbox gets of it: objects that nothing of the baseline and of another sandbox selects or is named as,
//! and the variables with which the forks find them.
//!
//! Nobody who makes a sandbox has to read a Secret. A password is a [`random`] value in a Secret that is
//! created once and never changed. Containers refer to it by the Secret's name, so it stands in no other
//! object, and no `up` after the first one has to know it.

mod instance;
mod invalid;
mod kinds;
mod names;
mod part;
pub mod random;
mod ready;
pub mod record;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use serde_json::Value;
use skycap_core::names::check_label;

pub use self::{instance::Instance, invalid::InvalidResource, kinds::is_custom};
use self::{names::check_variables, part::Part, ready::Ready};
use crate::table::{
    data::Data,
    yaml::{parse_documents, parse_value},
};

/// A resource, as its ConfigMap describes it, with its variables.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    name: String,
    /// What each sandbox gets, in the order in which it is applied.
    parts: Vec<Part>,
    /// Environment variables of the forks.
    env: BTreeMap<String, String>,
    /// The object that has to be ready before the forks start.
    ready: Ready,
    /// The Job that ends what no garbage collector knows of.
    delete: Option<Part>,
}

impl Resource {
    /// Parses a ConfigMap.
    ///
    /// # Errors
    /// [`InvalidResource`] with the field.
    pub fn parse(map: &DynamicObject) -> Result<Self, InvalidResource> {
        let map = serde_json::to_value(map).and_then(serde_json::from_value::<ConfigMap>);
        let map = map.map_err(|error| InvalidResource::new("data", error))?;
        let name = map.metadata.name.clone().unwrap_or_default();
        let namespace = map.metadata.namespace.clone().unwrap_or_default();
        if check_label(&name).is_err() {
            let text = format!("invalid name `{name}`: expected a DNS label");
            return Err(InvalidResource::new("metadata.name", text));
        }
        let mut data = Data::of(&map);
        data.check_size()?;
        let parts = data.take("manifest", parse_documents)?.unwrap_or_default();
        let parts: Result<Vec<_>, _> = parts
            .into_iter()
            .filter(|value: &Value| !value.is_null())
            .enumerate()
            .map(|(index, value)| Part::parse(value, &namespace, &format!("manifest[{index}]")))
            .collect();
        let parts = parts?;
        let env = data.take("env", parse_value::<BTreeMap<String, Value>>)?.unwrap_or_default();
        let env = env.into_iter().map(|(name, value)| Ok((name.clone(), text(&name, value)?)));
        let env = env.collect::<Result<_, InvalidResource>>()?;
        let ready = data.take("ready", str::parse::<Ready>)?;
        let delete = data.take("delete", parse_value::<Value>)?;
        let delete = delete.map(|value| Part::parse_job(value, &namespace)).transpose()?;
        data.close("`manifest`, `env`, `ready`, `delete`")?;
        let resource = Self { name, env, ready: Ready::of(ready, &parts)?, delete, parts };
        check_variables(&resource)?;
        resource.check_names()?;
        Ok(resource)
    }

    /// All parts with the fields that they stand in, and the Job of `delete`.
    fn all_parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().chain(&self.delete)
    }

    /// # Errors
    /// Two of the objects would be one.
    fn check_names(&self) -> Result<(), InvalidResource> {
        let parts: Vec<_> = self.all_parts().collect();
        for (index, part) in parts.iter().enumerate() {
            let is_same = |other: &&Part| other.id() == part.id();
            if parts[..index].iter().any(is_same) {
                let text = format!("{} is there twice; keep one of them", part.title());
                return Err(InvalidResource::new(&part.field, text));
            }
        }
        Ok(())
    }
}

fn text(name: &str, value: Value) -> Result<String, InvalidResource> {
    let field = format!("data.env.{name}");
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_inner) || name.as_bytes()[0].is_ascii_digit() {
        let text = "invalid name of a variable: expected letters, digits and `_`";
        return Err(InvalidResource::new(&field, text));
    }
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(InvalidResource::new(&field, "expected a string")),
    }
}

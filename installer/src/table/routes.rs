//! The `routes` of a sandbox: a YAML map from Service to target.

use std::num::NonZeroU16;

use serde_json::{Map, Value};
use skycap_core::names::check_label;

use super::manifests::yaml_error;

/// What a sandbox says of one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRoute {
    /// The baseline Service, of the fragment's namespace.
    pub service: String,
    /// Its port; `None` is every port.
    pub port: Option<NonZeroU16>,
    /// The Service that replaces it.
    pub to: String,
    /// The target's port, where it is not to be found from the Services.
    pub to_port: Option<NonZeroU16>,
}

/// Reads both forms: `cart: cart-pr-1` and `cart: {to: cart-pr-1, port: 80, toPort: 8080}`.
pub(crate) fn parse(yaml: &str) -> Result<Vec<SandboxRoute>, String> {
    let value: Value = serde_saphyr::from_str(yaml).map_err(|error| {
        format!("{}; expected lines such as `cart: cart-pr-1`", yaml_error(&error, 0))
    })?;
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(routes) => {
            routes.into_iter().map(|(service, target)| route(&service, target)).collect()
        }
        _ => Err("no map, expected lines such as `cart: cart-pr-1`".into()),
    }
}

fn route(service: &str, target: Value) -> Result<SandboxRoute, String> {
    check_own_service(service)?;
    let fields = match target {
        Value::String(to) => Map::from_iter([("to".to_owned(), Value::String(to))]),
        Value::Object(fields) => fields,
        other => {
            return Err(format!(
                "`{service}`: `{other}` is no target, expected a Service or `{{to, port, toPort}}`"
            ));
        }
    };
    let within = |text: String| format!("`{service}`: {text}");
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(within(format!(
            "`{unknown}` is no field of a route, expected `to`, `port`, `toPort`"
        )));
    }
    let Some(Value::String(to)) = fields.get("to") else {
        return Err(within("`to` is missing, expected the name of a Service".into()));
    };
    check_own_service(to).map_err(within)?;
    Ok(SandboxRoute {
        service: service.into(),
        port: port(fields.get("port"), "port").map_err(within)?,
        to: to.clone(),
        to_port: port(fields.get("toPort"), "toPort").map_err(within)?,
    })
}

fn check_own_service(name: &str) -> Result<(), String> {
    check_label(name).map_err(|error| {
        if name.contains(['.', '/']) {
            format!(
                "`{name}` names a Service of another namespace, but a fragment may only name \
                 Services of its own; write the name alone, in a ConfigMap of that namespace"
            )
        } else {
            error.to_string()
        }
    })
}

fn port(value: Option<&Value>, field: &str) -> Result<Option<NonZeroU16>, String> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    number
        .and_then(NonZeroU16::new)
        .map(Some)
        .ok_or_else(|| format!("`{field}: {value}` is no port, expected a number from 1 to 65535"))
}

const FIELDS: [&str; 3] = ["to", "port", "toPort"];

//! The `routes` of a sandbox: a YAML map from Service to target.

use std::num::NonZeroU16;

use serde_json::{Map, Value};
use skycap_core::names::{InvalidName, check_label};

use super::{
    limits::FRAGMENT_ROUTES,
    yaml::{self, InvalidYaml},
};
use crate::problem::InvalidValue;

/// One route of a sandbox: a baseline Service and the Service that replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRoute {
    /// The baseline Service, in the fragment's namespace.
    pub service: String,
    /// Its port; `None` for every port.
    pub port: Option<NonZeroU16>,
    /// The Service that replaces it, in the fragment's namespace.
    pub to: String,
    /// The target's port; `None` if it follows from the ports of the two Services.
    pub to_port: Option<NonZeroU16>,
}

/// Parses both forms: `cart: cart-pr-1` and `cart: {to: cart-pr-1, port: 80, toPort: 8080}`.
pub(crate) fn parse(text: &str) -> Result<Vec<SandboxRoute>, InvalidRoutes> {
    match yaml::parse_value(text)? {
        Value::Null => Ok(Vec::new()),
        Value::Object(routes) if routes.len() > FRAGMENT_ROUTES => {
            Err(InvalidRoutes::TooMany(routes.len()))
        }
        Value::Object(routes) => routes
            .into_iter()
            .map(|(service, target)| {
                route(&service, target)
                    .map_err(|error| InvalidRoutes::Route { service, source: error })
            })
            .collect(),
        _ => Err(InvalidRoutes::NotAMap),
    }
}

/// Why `routes` is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidRoutes {
    /// Not YAML, or a Service twice.
    #[error("{0}; expected lines such as `cart: cart-pr-1`")]
    Yaml(#[from] InvalidYaml),
    /// A list or a scalar.
    #[error("not a map: expected lines such as `cart: cart-pr-1`")]
    NotAMap,
    /// More than [`FRAGMENT_ROUTES`].
    #[error(
        "{0} routes: expected at most {FRAGMENT_ROUTES}; split them over several ConfigMaps with \
         the same `key`"
    )]
    TooMany(usize),
    /// One route is invalid.
    #[error("route `{service}`: {source}")]
    Route { service: String, source: InvalidRoute },
}

/// Why one route is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidRoute {
    /// A name with a namespace in it.
    #[error(
        "Service `{0}` is in another namespace: expected the name of a Service in the namespace \
         of this ConfigMap; move the route to a ConfigMap in that namespace"
    )]
    OtherNamespace(String),
    /// A name that no Service can have.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A field that does not exist.
    #[error("unknown field `{0}`: expected `to`, `port` or `toPort`")]
    UnknownField(String),
    /// No target.
    #[error("missing field `to`: expected the name of a Service")]
    NoTarget,
    /// A target or a port of the wrong type or out of range.
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

fn route(service: &str, target: Value) -> Result<SandboxRoute, InvalidRoute> {
    check_own_service(service)?;
    let fields = match target {
        Value::String(to) => Map::from_iter([("to".to_owned(), Value::String(to))]),
        Value::Object(fields) => fields,
        other => return Err(invalid_target(&other).into()),
    };
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(InvalidRoute::UnknownField(unknown.clone()));
    }
    let to = match fields.get("to") {
        Some(Value::String(to)) => to,
        Some(other) => return Err(invalid_target(other).into()),
        None => return Err(InvalidRoute::NoTarget),
    };
    check_own_service(to)?;
    Ok(SandboxRoute {
        service: service.into(),
        port: port(fields.get("port"), "port")?,
        to: to.clone(),
        to_port: port(fields.get("toPort"), "toPort")?,
    })
}

fn invalid_target(value: &Value) -> InvalidValue {
    InvalidValue::new("target", value, "the name of a Service, or `{to, port, toPort}`")
}

/// Checks that `name` is a Service of the fragment's own namespace: a plain DNS label.
fn check_own_service(name: &str) -> Result<(), InvalidRoute> {
    check_label(name).map_err(|error| {
        if name.contains(['.', '/']) {
            InvalidRoute::OtherNamespace(name.into())
        } else {
            error.into()
        }
    })
}

fn port(value: Option<&Value>, field: &'static str) -> Result<Option<NonZeroU16>, InvalidValue> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let port = number.and_then(NonZeroU16::new);
    port.map(Some).ok_or_else(|| InvalidValue::new(field, value, "a number from 1 to 65535"))
}

const FIELDS: [&str; 3] = ["to", "port", "toPort"];

//! The properties of librdkafka in a queue, as far as skycap knows better than its owner.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SERVERS;
use crate::{
    problem::InvalidValue,
    table::yaml::{self, InvalidYaml},
};

/// Parses a YAML map from property to value.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, InvalidProperties> {
    let values: BTreeMap<String, Value> = yaml::parse_value(text)?;
    if values.len() > PROPERTIES {
        return Err(InvalidProperties::TooMany(values.len()));
    }
    if !values.contains_key(SERVERS) {
        return Err(InvalidProperties::NoServers);
    }
    let properties = values.into_iter().map(|(name, value)| {
        check_property(&name)?;
        if SECRETS.iter().any(|secret| name.contains(secret)) {
            return Err(InvalidProperty::Credential(name).into());
        }
        let value = match value {
            Value::String(text) if !text.is_empty() => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(InvalidProperty::NoText(name).into()),
        };
        Ok((name, value))
    });
    properties.collect()
}

/// Checks the name of a property, of a queue or of its Secret.
///
/// # Errors
/// If it is no name, if `skycap-queue` sets the property itself, or if it makes librdkafka run a program.
pub fn check_property(name: &str) -> Result<(), InvalidProperty> {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
    let is_valid = |byte: u8| is_valid(byte) || byte == b'_' || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_valid) {
        let expected = "a property of librdkafka, such as `bootstrap.servers`";
        return Err(InvalidValue::new("property", name, expected).into());
    }
    if OWN.contains(&name) {
        return Err(InvalidProperty::Own(name.into()));
    }
    if PROGRAMS.contains(&name) {
        return Err(InvalidProperty::Program(name.into()));
    }
    Ok(())
}

/// Why `kafka` is rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidProperties {
    #[error("{0}; expected lines such as `bootstrap.servers: kafka:9092`")]
    Yaml(#[from] InvalidYaml),
    #[error("{0} properties: expected at most {PROPERTIES}; remove some")]
    TooMany(usize),
    #[error("missing `{SERVERS}`: expected a line such as `{SERVERS}: kafka:9092`")]
    NoServers,
    #[error(transparent)]
    Property(#[from] InvalidProperty),
}

/// Why a property is rejected.
#[derive(Debug, thiserror::Error)]
pub enum InvalidProperty {
    /// A name that no property has.
    #[error(transparent)]
    Name(#[from] InvalidValue),
    /// A credential, which everybody who may read ConfigMaps would see.
    #[error("`{0}` is a credential: put it into a Secret, and name that in `secret`")]
    Credential(String),
    /// A property on which the exactness of `skycap-queue` depends.
    #[error("`{0}` is set by `skycap-queue` itself; remove it")]
    Own(String),
    /// A property with a program or a library that librdkafka runs.
    #[error("`{0}` makes the client run a program; remove it")]
    Program(String),
    /// A list, a map or nothing.
    #[error("the value of `{0}` is not a text: expected one, such as `kafka:9092`")]
    NoText(String),
}

/// Maximum properties. librdkafka has 150 of them.
const PROPERTIES: usize = 150;

/// Parts of the names of properties that are credentials (librdkafka's CONFIGURATION.md).
const SECRETS: [&str; 4] = ["password", "secret", "passphrase", "key.pem"];

const OWN: [&str; 15] = [
    "acks",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "transaction.timeout.ms",
    "transactional.id",
];

const PROGRAMS: [&str; 5] = [
    "plugin.library.paths",
    "sasl.kerberos.kinit.cmd",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.providers",
];

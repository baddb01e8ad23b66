//! Random values, such as passwords: each is one Secret, which is created once. Whoever may create it can
//! therefore neither read nor change a Secret of the namespace.

use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::{Value, json};

use crate::{
    environment::labels::SANDBOX_LABEL,
    names::RESOURCE_LABEL,
    objects::{Object, object},
};

/// The name of the environment variable with a random value. It begins with the resource, so that those
/// of several resources differ: names of resources have no `_`, and those of values neither.
pub(super) fn variable(resource: &str, random: &str) -> String {
    format!("SKYCAP_{}_{}", resource.replace('-', "_"), random).to_uppercase()
}

/// The entry of a container's `env` with a random value of the resource `name` of a sandbox.
pub(super) fn reference(resource: &str, name: &str, random: &str) -> Value {
    let key = json!({"name": secret_name(name, random), "key": KEY});
    json!({"name": variable(resource, random), "valueFrom": {"secretKeyRef": key}})
}

/// The Secret of a random value, without the value.
pub(super) fn secret(namespace: &str, sandbox: &str, name: &str, random: &str) -> Value {
    let secret_name = secret_name(name, random);
    let body = json!({"type": "Opaque", "immutable": true});
    let mut secret = object("v1", "Secret", Some(namespace), &secret_name, body);
    secret["metadata"]["labels"][SANDBOX_LABEL] = sandbox.into();
    secret["metadata"]["labels"][RESOURCE_LABEL] = name.into();
    secret
}

/// The Secret with a new value: 128 random bits in 32 hexadecimal digits, which need no quotes in a URL,
/// in SQL and in a shell.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn filled(secret: &Object) -> Result<Object, Unspecified> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    let value: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut secret = secret.clone();
    secret.0.data["stringData"] = json!({KEY: value});
    Ok(secret)
}

fn secret_name(name: &str, random: &str) -> String {
    format!("{name}-{random}")
}

/// The key of a Secret with its value.
const KEY: &str = "value";

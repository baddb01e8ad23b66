//! Environment variables that a sandbox adds to containers, some of which refer to Secrets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Environment variables. A value may have `$(NAME)` of one that refers to a Secret: the kubelet replaces
/// it, if that one stands before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Env {
    /// Those that refer to Secrets.
    references: Vec<Value>,
    /// The others.
    values: Vec<Value>,
}

impl Env {
    /// `references` are entries of a container's `env`.
    pub(super) fn new(
        references: impl Iterator<Item = Value>,
        values: &BTreeMap<String, String>,
    ) -> Self {
        let values = values.iter().map(|(name, value)| json!({"name": name, "value": value}));
        Self { references: references.collect(), values: values.collect() }
    }

    /// Adds the variables of another one.
    pub(super) fn extend(&mut self, other: &Self) {
        self.references.extend(other.references.iter().cloned());
        self.values.extend(other.values.iter().cloned());
    }

    /// The names of the variables that do not refer to Secrets.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(|entry| entry["name"].as_str())
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.references.is_empty() && self.values.is_empty()
    }

    /// Sets all of them in a container.
    pub(super) fn set(&self, container: &mut Value) {
        self.write(container, true);
    }

    /// Sets those that a container does not have.
    pub(super) fn add(&self, container: &mut Value) {
        self.write(container, false);
    }

    fn write(&self, container: &mut Value, is_set: bool) {
        if self.is_empty() || !container.is_object() {
            return;
        }
        let mut entries = match container["env"].take() {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        };
        let is_same = |one: &Value, other: &Value| one["name"] == other["name"];
        for entry in &self.values {
            match entries.iter_mut().find(|found| is_same(found, entry)) {
                Some(found) if is_set => *found = entry.clone(),
                Some(_) => {}
                None => entries.push(entry.clone()),
            }
        }
        entries.retain(|entry| !self.references.iter().any(|one| is_same(one, entry)));
        entries.splice(..0, self.references.iter().cloned());
        container["env"] = entries.into();
    }
}

//! The fields of a map in a sandbox file. Taking one removes it, so those that are left are unknown.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};
use skycap_core::names::check_label;

use super::InvalidFile;
use crate::table::queue::names;

/// The fields of one map.
pub(super) struct Fields {
    fields: Map<String, Value>,
    /// The field that holds the map; empty for the whole file.
    parent: String,
    /// The names that were asked for, whether the map has them or not.
    known: Vec<&'static str>,
}

impl Fields {
    /// # Errors
    /// If `value` is not a map.
    pub(super) fn new(value: Value, parent: &str) -> Result<Self, InvalidFile> {
        match value {
            Value::Object(fields) => Ok(Self { fields, parent: parent.into(), known: Vec::new() }),
            Value::Null if parent.is_empty() => {
                Err(InvalidFile::Yaml("empty file: expected `sandbox` and `forks`".into()))
            }
            _ => Err(InvalidFile::field(parent, "expected a map")),
        }
    }

    /// Takes a text. Numbers and booleans are texts too, as in `ttl: 72`.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, InvalidFile> {
        self.take(name).map(|value| text(value, &self.path(name))).transpose()
    }

    /// Takes a text and parses it.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, InvalidFile> {
        let parsed = self.text(name)?.map(|text| parse(&text)).transpose();
        parsed.map_err(|error| InvalidFile::field(&self.path(name), error))
    }

    /// Takes a map.
    pub(super) fn map(&mut self, name: &'static str) -> Result<Map<String, Value>, InvalidFile> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(InvalidFile::field(&self.path(name), "expected a map")),
        }
    }

    /// Takes a map of texts.
    pub(super) fn texts(
        &mut self,
        name: &'static str,
    ) -> Result<BTreeMap<String, String>, InvalidFile> {
        let map = self.map(name)?.into_iter();
        let path = self.path(name);
        map.map(|(key, value)| {
            let value = text(value, &format!("{path}.{key}"))?;
            Ok((key, value))
        })
        .collect()
    }

    /// Takes a list of texts.
    fn list(&mut self, name: &'static str) -> Result<Vec<String>, InvalidFile> {
        let path = self.path(name);
        match self.take(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items.into_iter().map(|item| text(item, &path)).collect(),
            Some(_) => Err(InvalidFile::field(&path, "expected a list, such as `[orders]`")),
        }
    }

    /// Takes the names of the queues of a sandbox.
    pub(super) fn queues(&mut self, sandbox: &str) -> Result<Vec<String>, InvalidFile> {
        let queues = self.list("queues")?;
        names::check(&queues, sandbox).map_err(|error| InvalidFile::field("queues", error))?;
        Ok(queues)
    }

    /// Takes a list of objects' names, each of which stands there once.
    pub(super) fn names(&mut self, name: &'static str) -> Result<Vec<String>, InvalidFile> {
        let names = self.list(name)?;
        let path = self.path(name);
        for (index, name) in names.iter().enumerate() {
            if check_label(name).is_err() {
                let text = format!("invalid name `{name}`: expected a DNS label");
                return Err(InvalidFile::field(&path, text));
            }
            if names[..index].contains(name) {
                let text = format!("`{name}` is listed twice; keep one of them");
                return Err(InvalidFile::field(&path, text));
            }
        }
        Ok(names)
    }

    /// Takes a patch of a workload. A fork's identity is not the user's to choose.
    pub(super) fn patch(&mut self, name: &'static str) -> Result<Value, InvalidFile> {
        let patch = Value::Object(self.map(name)?);
        let path = self.path(name);
        for (map, known) in
            [("", &["spec", "metadata"][..]), ("/metadata", &["labels", "annotations"])]
        {
            let fields = patch.pointer(map).and_then(Value::as_object);
            for field in fields.into_iter().flat_map(Map::keys) {
                if !known.contains(&field.as_str()) {
                    let path = format!("{path}{}.{field}", map.replace('/', "."));
                    let text = format!("cannot be patched: expected one of {}", known.join(", "));
                    return Err(InvalidFile::field(&path, text));
                }
            }
        }
        if patch.pointer("/spec/selector").is_some() {
            let text = "cannot be patched: a fork selects its Pods by skycap's own labels";
            return Err(InvalidFile::field(&format!("{path}.spec.selector"), text));
        }
        Ok(patch)
    }

    /// # Errors
    /// The first field that nothing has taken, with the known one that is most like it.
    pub(super) fn close(self) -> Result<(), InvalidFile> {
        let Some(name) = self.fields.keys().next() else { return Ok(()) };
        let nearest = similar::get_close_matches(name.as_str(), &self.known, 1, 0.6);
        let hint = match nearest.first() {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("expected one of {}", self.known.join(", ")),
        };
        Err(InvalidFile::field(&self.path(name), format!("unknown field; {hint}")))
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.fields.remove(name)
    }

    fn path(&self, name: &str) -> String {
        let dot = if self.parent.is_empty() { "" } else { "." };
        format!("{}{dot}{name}", self.parent)
    }
}

fn text(value: Value, path: &str) -> Result<String, InvalidFile> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(InvalidFile::field(path, "expected a string")),
    }
}

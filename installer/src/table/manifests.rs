//! Kubernetes YAML, from files to documents.

use crate::objects::ObjectRef;
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    cluster::DEFAULT_NAMESPACE,
    policies::{Policies, PolicyKind},
};
use crate::problem::{Problem, Severity};

/// The documents that skycap reads; documents of other kinds are passed over.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// ConfigMaps, each with where it begins (`file.yaml:12`).
    pub config_maps: Vec<(String, ConfigMap)>,
    /// Services. None at all means that nothing is known of Services.
    pub services: Vec<Service>,
    /// EndpointSlices. None at all means that nothing is known of endpoints.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// Namespaces. None at all means that nothing is known of their labels.
    pub namespaces: Vec<Namespace>,
    /// HTTPRoutes, GRPCRoutes and ServiceProfiles of others.
    pub policies: Policies,
    /// Istio's VirtualServices, as JSON.
    pub virtual_services: Vec<Value>,
    /// Istio's Sidecars, as JSON.
    pub sidecars: Vec<Value>,
    /// Documents that could not be read.
    pub problems: Vec<Problem>,
}

/// A path that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`, check what is given with -f")]
pub struct Unreadable {
    path: PathBuf,
    source: std::io::Error,
}

impl Manifests {
    /// Reads files, folders (recursively `*.yaml`, `*.yml`, `*.json`, by name) and `-` for stdin.
    ///
    /// # Errors
    /// [`Unreadable`]; what is malformed inside a file is a [`Problem`] instead.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Unreadable> {
        let mut manifests = Self::default();
        for path in paths {
            manifests
                .read_path(path)
                .map_err(|source| Unreadable { path: path.clone(), source })?;
        }
        Ok(manifests)
    }

    /// Adds the documents of `text`; `source` is what problems call it.
    pub fn add(&mut self, text: &str, source: &str) {
        for Document { before, line, text } in documents(text) {
            let place = format!("{source}:{line}");
            if let Err(text) = self.add_document(text, before, &place) {
                self.refuse(&place, None, text);
            }
        }
    }

    fn read_path(&mut self, path: &Path) -> std::io::Result<()> {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            self.add(&text, "stdin");
        } else if path.is_dir() {
            let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
            let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
            entries.sort();
            for entry in entries.iter().filter(|entry| entry.is_dir() || is_manifest(entry)) {
                self.read_path(entry)?;
            }
        } else {
            self.add(&std::fs::read_to_string(path)?, &path.display().to_string());
        }
        Ok(())
    }

    /// Adds one document. An error is for the whole of it.
    fn add_document(&mut self, text: &str, before: u64, source: &str) -> Result<(), String> {
        let options = serde_saphyr::options! { budget: None };
        let value: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            format!("no YAML: {}; mend the document", yaml_error(&error, before))
        })?;
        match value {
            Value::Null => Ok(()),
            Value::Object(_) => {
                self.add_object(value, source);
                Ok(())
            }
            _ => Err("no Kubernetes object, expected `kind` and `metadata`".into()),
        }
    }

    fn add_object(&mut self, mut value: Value, source: &str) {
        let object = object_of(&value);
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let added = match kind.as_str() {
            "ConfigMap" => typed(value).map(|map| self.config_maps.push((source.into(), map))),
            "Service" => typed(value).map(|service| self.services.push(service)),
            "EndpointSlice" => typed(value).map(|slice| self.endpoint_slices.push(slice)),
            "Namespace" => typed(value).map(|namespace| self.namespaces.push(namespace)),
            "HTTPRoute" | "GRPCRoute" | "ServiceProfile" => {
                typed(value).map(|object: DynamicObject| {
                    if let Some(kind) = PolicyKind::of(&object) {
                        self.policies.put(kind, &object);
                    }
                })
            }
            "VirtualService" => {
                self.virtual_services.push(value);
                Ok(())
            }
            "Sidecar" => {
                self.sidecars.push(value);
                Ok(())
            }
            "List" => {
                if let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) {
                    items.into_iter().for_each(|item| self.add_object(item, source));
                }
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = added {
            let text = format!("no {kind}: {error}; data values are strings, quote them");
            self.refuse(source, Some(object), text);
        }
    }

    fn refuse(&mut self, source: &str, object: Option<ObjectRef>, text: String) {
        self.problems.push(Problem {
            severity: Severity::Refused,
            object: object.map(Box::new),
            source: Some(source.into()),
            field: String::new(),
            text,
        });
    }
}

/// One document of a stream.
struct Document<'a> {
    /// How many lines of the stream stand before its text.
    before: u64,
    /// The line of the stream, from 1, on which it says something first.
    line: usize,
    text: &'a str,
}

/// The documents of a stream that say something.
///
/// Split here and not by the parser, so that a malformed document hurts no other: `---` at the
/// start of a line ends a document wherever it stands (YAML 1.2.2, section 9.1.2).
fn documents(stream: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut before) = (stream, 0);
    loop {
        let end = end_of_document(rest);
        let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let is_empty = |line: &str| {
            let line = line.strip_prefix("---").unwrap_or(line).trim_start();
            line.is_empty() || line.starts_with('#')
        };
        if let Some(first) = text.lines().position(|line| !is_empty(line)) {
            found.push(Document { before, line: before as usize + first + 1, text });
        }
        if end.is_none() {
            return found;
        }
        before += text.matches('\n').count() as u64;
        rest = behind;
    }
}

/// Where the next document begins: at a `---` on a line of its own, but for the very first.
fn end_of_document(text: &str) -> Option<usize> {
    let markers = text.match_indices("\n---").map(|(newline, _)| newline + 1);
    markers.into_iter().find(|marker| {
        let behind = text.get(marker + 3..).unwrap_or_default();
        behind.is_empty() || behind.starts_with([' ', '\t', '\r', '\n'])
    })
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Which object this is, as far as it says so.
fn object_of(value: &Value) -> ObjectRef {
    let text = |field| value.pointer(field).and_then(Value::as_str).unwrap_or_default();
    let namespace = Some(text("/metadata/namespace")).filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    ObjectRef::new(text("/apiVersion"), text("/kind"), namespace, text("/metadata/name"))
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value)
}

/// What the YAML parser says, in a line: no picture of the document, no word to programmers, and
/// its line counted from `before` lines up.
pub(crate) fn yaml_error(error: &serde_saphyr::Error, before: u64) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let line = line.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    let Some(location) = error.location() else { return line.to_owned() };
    let place = format!("line {} column {}: ", location.line(), location.column());
    let what = line.strip_prefix(&place).unwrap_or(line);
    format!("line {} column {}: {what}", location.line() + before, location.column())
}

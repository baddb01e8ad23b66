//! Reads Kubernetes YAML from files.

mod documents;
mod files;

use std::path::PathBuf;

use anyhow::Context as _;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::files::Unreadable;
use self::{documents::Document, files::File};
use super::{
    cluster::DEFAULT_NAMESPACE,
    policies::{Policies, PolicyKind},
    yaml::{self, InvalidYaml},
};
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// The documents that skycap uses. Documents of other kinds are ignored.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The ConfigMaps, each with the file and line where it begins, as `file.yaml:12`.
    pub config_maps: Vec<(String, ConfigMap)>,
    /// The Services. If there is none, Services are unknown, and every route is valid.
    pub services: Vec<Service>,
    /// The EndpointSlices. If there is none, endpoints are unknown, and every target is ready.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// The Namespaces. If there is none, their labels are unknown, and every namespace is selected.
    pub namespaces: Vec<Namespace>,
    /// The HTTPRoutes, GRPCRoutes and ServiceProfiles of other owners.
    pub policies: Policies,
    /// Istio's VirtualServices, as JSON.
    pub virtual_services: Vec<Value>,
    /// Istio's Sidecars, as JSON.
    pub sidecars: Vec<Value>,
    /// A problem for each document that could not be read.
    pub problems: Vec<Problem>,
}

impl Manifests {
    /// Reads files, folders (`*.yaml`, `*.yml` and `*.json` in them, recursively, by name) and `-`
    /// for stdin.
    ///
    /// # Errors
    /// [`Unreadable`] if a path cannot be read. A malformed document is a [`Problem`] instead.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Unreadable> {
        let mut manifests = Self::default();
        for File { source, text } in files::read(paths)? {
            match text {
                Ok(text) => manifests.add(&text, &source),
                Err(_) => manifests.refuse(&source, None, InvalidDocument::NotText),
            }
        }
        Ok(manifests)
    }

    /// Adds the documents of `text`; `source` is the name of the file in problems.
    pub fn add(&mut self, text: &str, source: &str) {
        for Document { lines_before, line, text } in documents::split(text) {
            let place = format!("{source}:{line}");
            if let Err(error) = self.add_document(text, lines_before, &place) {
                self.refuse(&place, None, error);
            }
        }
    }

    fn add_document(
        &mut self,
        text: &str,
        lines_before: u64,
        source: &str,
    ) -> Result<(), InvalidDocument> {
        match yaml::parse_document(text, lines_before)? {
            Value::Null => {}
            value @ Value::Object(_) => self.add_object(value, source),
            _ => return Err(InvalidDocument::NotAnObject),
        }
        Ok(())
    }

    /// Adds one object, or the items of a List. An invalid object is a problem of its own, so that
    /// it does not affect the other items.
    fn add_object(&mut self, value: Value, source: &str) {
        for value in items(value) {
            self.add_item(value, source);
        }
    }

    fn add_item(&mut self, value: Value, source: &str) {
        let object = reference_of(&value);
        if object.kind == "ConfigMap"
            && let Some(error) = invalid_data(&value)
        {
            return self.refuse(source, Some(object), error);
        }
        if let Err(error) = self.add_kind(&object.kind, value, source) {
            let error = InvalidDocument::Object { kind: object.kind.clone(), source: error };
            self.refuse(source, Some(object), error);
        }
    }

    fn add_kind(
        &mut self,
        kind: &str,
        value: Value,
        source: &str,
    ) -> Result<(), serde_json::Error> {
        match kind {
            "ConfigMap" => self.config_maps.push((source.into(), typed(value)?)),
            "Service" => self.services.push(typed(value)?),
            "EndpointSlice" => self.endpoint_slices.push(typed(value)?),
            "Namespace" => self.namespaces.push(typed(value)?),
            "HTTPRoute" | "GRPCRoute" | "ServiceProfile" => {
                let object: DynamicObject = typed(value)?;
                if let Some(kind) = PolicyKind::of(&object) {
                    self.policies.put(kind, &object);
                }
            }
            "VirtualService" => {
                self.virtual_services.push(value.clone());
                self.policies.put(PolicyKind::VirtualService, &typed(value)?);
            }
            "Sidecar" => self.sidecars.push(value),
            _ => {}
        }
        Ok(())
    }

    fn refuse(&mut self, source: &str, object: Option<ObjectRef>, error: InvalidDocument) {
        self.problems.push(Problem::new(Severity::Refused, object, Some(source), "", error));
    }
}

/// Why a document is rejected.
#[derive(Debug, thiserror::Error)]
enum InvalidDocument {
    /// Not YAML.
    #[error("{0}; correct the document")]
    Yaml(#[from] InvalidYaml),
    /// Not UTF-8.
    #[error("not a text in UTF-8; correct the file")]
    NotText,
    /// A value of a ConfigMap that is not a string.
    #[error("data.{0}")]
    Data(String),
    /// A list or a scalar.
    #[error("not a Kubernetes object: expected a map with `kind` and `metadata`")]
    NotAnObject,
    /// An object with a field of the wrong type.
    #[error("invalid {kind}: {source}")]
    Object { kind: String, source: serde_json::Error },
}

/// The first value of a ConfigMap that is not a string, and how to write it.
fn invalid_data(object: &Value) -> Option<InvalidDocument> {
    let data = object.get("data")?.as_object()?;
    let (name, value) = data.iter().find(|(_, value)| !value.is_string() && !value.is_null())?;
    Some(InvalidDocument::Data(match value {
        Value::Object(_) => format!("{name}: expected a string; put `|` after `{name}:`"),
        Value::Array(_) => format!("{name}: expected a string, such as `{name}: a, b`"),
        value => {
            format!(
                "{name}: invalid value `{value}`: expected a string; write `{name}: \"{value}\"`"
            )
        }
    }))
}

/// All objects of files and folders, of whatever kind.
///
/// # Errors
/// A path that cannot be read, or a document that is not an object.
pub fn objects(paths: &[PathBuf]) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for File { source, text } in files::read(paths)? {
        for Document { lines_before, line, text } in documents::split(&text?) {
            let place = || format!("{source}:{line}");
            let value: Value = yaml::parse_document(text, lines_before).with_context(place)?;
            for value in items(value).into_iter().filter(|value| !value.is_null()) {
                objects.push(typed(value).with_context(place)?);
            }
        }
    }
    Ok(objects)
}

/// The items of a List, or the object itself.
fn items(mut value: Value) -> Vec<Value> {
    let kind = value.get("kind").and_then(Value::as_str);
    if !kind.is_some_and(|kind| kind.ends_with("List")) {
        return vec![value];
    }
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(list)) => list.into_iter().flat_map(items).collect(),
        _ => Vec::new(),
    }
}

/// Which object this is. A part that is missing is empty.
fn reference_of(value: &Value) -> ObjectRef {
    let text = |field| value.pointer(field).and_then(Value::as_str).unwrap_or_default();
    let namespace = Some(text("/metadata/namespace")).filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    ObjectRef::new(text("/apiVersion"), text("/kind"), namespace, text("/metadata/name"))
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value)
}

//! Kubernetes YAML, from files to documents.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Service},
    discovery::v1::EndpointSlice,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

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
    /// Documents that could not be read.
    pub problems: Vec<Problem>,
}

/// A path that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`: {source}; check the path given with -f")]
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
        for (line, document) in documents(text) {
            if let Err(text) = self.add_document(&document, &format!("{source}:{line}")) {
                self.refuse(&format!("{source}:{line}"), "", text);
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
    fn add_document(&mut self, document: &str, source: &str) -> Result<(), String> {
        let options = serde_saphyr::options! { budget: None };
        let value: Value = serde_saphyr::from_str_with_options(document, options)
            .map_err(|error| format!("no YAML: {}; mend the document", one_line(&error)))?;
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
        let name = name_of(&value);
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let added = match kind.as_str() {
            "ConfigMap" => typed(value).map(|map| self.config_maps.push((source.into(), map))),
            "Service" => typed(value).map(|service| self.services.push(service)),
            "EndpointSlice" => typed(value).map(|slice| self.endpoint_slices.push(slice)),
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
            self.refuse(source, &name, text);
        }
    }

    fn refuse(&mut self, source: &str, fragment: &str, text: String) {
        self.problems.push(Problem {
            severity: Severity::Refused,
            fragment: fragment.into(),
            source: source.into(),
            field: String::new(),
            text,
        });
    }
}

/// The documents of a stream, each with the number of its first line that says something.
///
/// Split here and not by the parser, so that a malformed document hurts no other: `---` at the
/// start of a line ends a document wherever it stands (YAML 1.2.2, section 9.1.2). Each is padded
/// with the lines before it, so that the parser's own line numbers are those of the file.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = vec![(0, String::new())];
    for (index, line) in text.lines().enumerate() {
        let marker =
            line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(' '));
        let content = marker.unwrap_or(line);
        if marker.is_some() {
            found.push((0, "\n".repeat(index)));
        }
        let says = !content.trim().is_empty() && !content.trim_start().starts_with('#');
        if let Some((first, document)) = found.last_mut() {
            if says && *first == 0 {
                *first = index + 1;
            }
            document.push_str(content);
            document.push('\n');
        }
    }
    found.retain(|(first, _)| *first > 0);
    found
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// `namespace/name` of an object that may be anything.
fn name_of(value: &Value) -> String {
    let text = |field| value.pointer(field).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE);
    text("/metadata/name").map_or_else(String::new, |name| format!("{namespace}/{name}"))
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value)
}

/// The first line of an error; the rest is a picture of the document.
fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Where a manifest without a namespace goes, as with kubectl.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

//! The sandbox file, `skycap.yaml`: what a sandbox replaces, and with which images. Section 9 of the
//! contract.

mod fields;

use std::collections::BTreeMap;

use serde_json::Value;
use skycap_core::{key::RoutingKey, names::check_label};

use self::fields::Fields;
use super::{
    labels::check_label_name,
    selector::Labels,
    variables::{InvalidVariable, substitute},
    workload::Workload,
};
use crate::{
    problem::InvalidValue,
    table::{
        availability::OnUnavailable,
        expiry,
        yaml::{InvalidYaml, parse_document},
    },
};

/// What a sandbox shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxSpec {
    /// The name of the sandbox and of its ConfigMap: a DNS label.
    pub name: String,
    /// The namespace; `None` for that of the command.
    pub namespace: Option<String>,
    /// The routing key; `None` for the name.
    pub key: Option<RoutingKey>,
    /// How long it lives, as `72h`; `None` for ever.
    pub ttl: Option<String>,
    /// Where to look for a destination that it does not replace.
    pub extends: Option<RoutingKey>,
    /// What a request gets while a fork is unavailable; `None` for the settings' value.
    pub on_unavailable: Option<OnUnavailable>,
    /// Labels of the ConfigMap, which groups match.
    pub labels: Labels,
    /// The workloads to fork.
    pub forks: BTreeMap<Workload, ForkSpec>,
    /// The queues whose messages with its key are its own.
    pub queues: Vec<String>,
    /// The resources that it gets.
    pub resources: Vec<String>,
}

/// What a fork has instead of its baseline's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForkSpec {
    /// The image of the only container, or of the one that is named as the workload.
    pub image: Option<String>,
    /// The images of containers, by their names.
    pub images: BTreeMap<String, String>,
    /// Environment variables of all containers that are not init containers.
    pub env: BTreeMap<String, String>,
    /// A strategic merge patch of the workload; null for none.
    pub patch: Value,
}

impl SandboxSpec {
    /// A sandbox without forks.
    ///
    /// # Errors
    /// If the name is not a DNS label.
    pub fn new(name: &str) -> Result<Self, InvalidFile> {
        Ok(Self {
            name: sandbox_name(name)?,
            namespace: None,
            key: None,
            ttl: None,
            extends: None,
            on_unavailable: None,
            labels: Labels::new(),
            forks: BTreeMap::new(),
            queues: Vec::new(),
            resources: Vec::new(),
        })
    }

    /// Parses the text of a file. `name` stands in for its `sandbox`, and `lookup` knows the variables.
    ///
    /// # Errors
    /// [`InvalidFile`] with all unset variables, or with the first field that is wrong.
    pub fn parse(
        text: &str,
        name: Option<&str>,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidFile> {
        Self::of_value(document(text, name)?, lookup)
    }

    fn of_value(
        value: Value,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidFile> {
        let value = substitute(value, lookup).map_err(InvalidFile::Variables)?;
        let mut fields = Fields::new(value, "")?;
        let Some(name) = fields.text("sandbox")? else {
            return Err(InvalidFile::field("sandbox", "missing: expected the sandbox's name"));
        };
        let spec = Self {
            namespace: fields.parsed("namespace", |text| dns_label("namespace", text))?,
            key: fields.parsed("key", str::parse)?,
            ttl: fields.parsed("ttl", |text| expiry::duration_of(text).map(|_| text.to_owned()))?,
            extends: fields.parsed("extends", str::parse)?,
            on_unavailable: fields.parsed("onUnavailable", str::parse)?,
            labels: labels(&mut fields)?,
            forks: forks(&mut fields)?,
            queues: fields.queues(&name)?,
            resources: fields.names("resources")?,
            ..Self::new(&name)?
        };
        fields.close()?;
        Ok(spec)
    }

    /// Parses only the names of the sandbox and of the namespace: no other variable needs a value.
    ///
    /// # Errors
    /// [`InvalidFile`], as [`Self::parse`].
    pub fn parse_names(
        text: &str,
        name: Option<&str>,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Result<(String, Option<String>), InvalidFile> {
        let mut value = document(text, name)?;
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|field, _| matches!(field.as_str(), "sandbox" | "namespace"));
        }
        let spec = Self::of_value(value, lookup)?;
        Ok((spec.name, spec.namespace))
    }

    /// The routing key.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.as_ref().map_or_else(|| self.name.clone(), ToString::to_string)
    }
}

impl ForkSpec {
    /// Parses the annotation `skycap.dev/fork` of a baseline: `env` and `patch`, as in the file.
    ///
    /// # Errors
    /// [`InvalidFile`] with the field.
    pub fn of_annotation(text: &str) -> Result<Self, InvalidFile> {
        let mut fields = Fields::new(parse_document(text, 0)?, "")?;
        let spec =
            Self { env: fields.texts("env")?, patch: fields.patch("patch")?, ..Self::default() };
        fields.close()?;
        Ok(spec)
    }

    fn parse(value: Value, field: &str) -> Result<Self, InvalidFile> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let mut fields = Fields::new(value, field)?;
        let spec = Self {
            image: fields.text("image")?,
            images: fields.texts("images")?,
            env: fields.texts("env")?,
            patch: fields.patch("patch")?,
        };
        fields.close()?;
        Ok(spec)
    }
}

/// The one document of a file, with another name for the sandbox if there is one.
fn document(text: &str, name: Option<&str>) -> Result<Value, InvalidFile> {
    let mut value: Value = parse_document(text, 0)?;
    if let (Some(name), Some(fields)) = (name, value.as_object_mut()) {
        fields.insert("sandbox".into(), name.into());
    }
    Ok(value)
}

fn forks(fields: &mut Fields) -> Result<BTreeMap<Workload, ForkSpec>, InvalidFile> {
    let mut forks = BTreeMap::new();
    for (name, value) in fields.map("forks")? {
        let field = format!("forks.{name}");
        let workload: Workload =
            name.parse().map_err(|error| InvalidFile::field("forks", error))?;
        if forks.contains_key(&workload) {
            let text = format!("`{workload}` is listed twice; keep one of them");
            return Err(InvalidFile::field(&field, text));
        }
        forks.insert(workload, ForkSpec::parse(value, &field)?);
    }
    Ok(forks)
}

fn labels(fields: &mut Fields) -> Result<Labels, InvalidFile> {
    let labels = fields.texts("labels")?;
    for name in labels.keys() {
        check_label_name(name)
            .map_err(|error| InvalidFile::field(&format!("labels.{name}"), error))?;
    }
    Ok(labels)
}

fn sandbox_name(name: &str) -> Result<String, InvalidFile> {
    dns_label("sandbox", name).map_err(|error| InvalidFile::field("sandbox", error))
}

fn dns_label(what: &'static str, text: &str) -> Result<String, InvalidValue> {
    let expected = "a DNS label: at most 63 lower-case letters, digits and `-`";
    check_label(text).map_err(|_| InvalidValue::new(what, text, expected))?;
    Ok(text.to_owned())
}

/// Why a sandbox file is rejected.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFile {
    /// It is not YAML.
    #[error("{0}")]
    Yaml(String),
    /// Variables that are not set, or are malformed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Variables(Vec<InvalidVariable>),
    /// A field with a wrong value, or one that nothing knows.
    #[error("{field}{}{text}", if field.is_empty() { "" } else { ": " })]
    Field {
        /// The field, as `forks.cart.image`.
        field: String,
        /// What is wrong with it.
        text: String,
    },
}

impl InvalidFile {
    pub(super) fn field(field: &str, text: impl std::fmt::Display) -> Self {
        Self::Field { field: field.into(), text: text.to_string() }
    }
}

impl From<InvalidYaml> for InvalidFile {
    fn from(error: InvalidYaml) -> Self {
        Self::Yaml(error.to_string())
    }
}

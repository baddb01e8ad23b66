//! One object of a resource, with its variables: whatever it is, it stays inside its sandbox.

use serde_json::Value;

use super::{
    invalid::InvalidResource,
    kinds::{Kind, is_custom},
};

/// One object of a resource, with its variables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The field of the ConfigMap that it stands in.
    pub(super) field: String,
    /// Its kind, as the API calls it.
    pub(super) kind: String,
    /// Its name with variables.
    pub(super) name: String,
    /// Where it has Pods and selects them; `None` for a kind that is not Kubernetes' own.
    pub(super) shape: Option<Kind>,
    pub(super) value: Value,
}

impl Part {
    /// Parses one document of the manifest of a resource in `namespace`; `field` is where it stands.
    pub(super) fn parse(
        value: Value,
        namespace: &str,
        field: &str,
    ) -> Result<Self, InvalidResource> {
        let field = format!("data.{field}");
        let invalid =
            |inner: &str, text: String| InvalidResource::new(&format!("{field}{inner}"), text);
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let shape = Kind::of(api_version, kind);
        if shape.is_none() && !is_custom(api_version) {
            return Err(invalid("", refusal(api_version, kind)));
        }
        let name = text("/metadata/name").to_owned();
        let behind = name.strip_prefix("${name}");
        if !behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(['-', '.'])) {
            let text = format!(
                "invalid name `{name}`: expected `${{name}}` or `${{name}}-SUFFIX`, which no other \
                 sandbox and nothing of the baseline is called"
            );
            return Err(invalid(".metadata.name", text));
        }
        if kind == "ConfigMap" && name == "${name}" {
            let text = "this ConfigMap is skycap's own; name it `${name}-config`";
            return Err(invalid(".metadata.name", text.into()));
        }
        let part = Self { kind: kind.to_owned(), name, shape, field: field.clone(), value };
        part.check_metadata(namespace)?;
        Ok(part)
    }

    /// Parses the Job of `delete`.
    pub(super) fn parse_job(value: Value, namespace: &str) -> Result<Self, InvalidResource> {
        let part = Self::parse(value, namespace, "delete")?;
        if part.kind == "Job" {
            return Ok(part);
        }
        let text = format!("invalid kind `{}`: expected a Job of `batch/v1`", part.kind);
        Err(InvalidResource::new("data.delete.kind", text))
    }

    /// What no other object of a resource has.
    pub(super) fn id(&self) -> (&Value, &str, &str) {
        (&self.value["apiVersion"], &self.kind, &self.name)
    }

    /// As `kubectl` writes it.
    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }

    /// # Errors
    /// Another namespace, or metadata that is skycap's to write.
    fn check_metadata(&self, namespace: &str) -> Result<(), InvalidResource> {
        let metadata = self.value["metadata"].as_object().into_iter().flatten();
        for (name, value) in metadata {
            let field = format!("{}.metadata.{name}", self.field);
            match name.as_str() {
                "name" => {}
                "namespace" if value == namespace => {}
                "namespace" => {
                    let text = format!(
                        "{value} is another namespace: expected `{namespace}`, that of the ConfigMap"
                    );
                    return Err(InvalidResource::new(&field, text.replace('"', "`")));
                }
                "labels" | "annotations" => check_labels(value, &field)?,
                _ => {
                    let text = "cannot be set: expected only `name`, `labels` and `annotations`";
                    return Err(InvalidResource::new(&field, text));
                }
            }
        }
        if let Some(template) = self.shape.and_then(|shape| shape.template) {
            let field = format!("{template}.metadata.labels");
            let field = field.trim_start_matches('.');
            let labels = self.value.pointer(&pointer(field)).unwrap_or(&Value::Null);
            check_labels(labels, &format!("{}.{field}", self.field))?;
        }
        Ok(())
    }
}

/// # Errors
/// A label or an annotation of skycap.
fn check_labels(labels: &Value, field: &str) -> Result<(), InvalidResource> {
    let names = labels.as_object().into_iter().flatten().map(|(name, _)| name);
    match names.into_iter().find(|name| name.contains("skycap.dev/")) {
        Some(name) => {
            let text = format!("`{name}` is skycap's own; remove it");
            Err(InvalidResource::new(field, text))
        }
        None => Ok(()),
    }
}

/// A path of fields as a JSON pointer.
pub(super) fn pointer(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) }
}

fn refusal(api_version: &str, kind: &str) -> String {
    let kinds: Vec<_> = Kind::names().map(|name| format!("`{name}`")).collect();
    let kinds = kinds.join(", ");
    match (api_version, kind) {
        (_, "") | ("", _) => "not an object: expected a map with `apiVersion` and `kind`".into(),
        ("v1", "Secret") => {
            "a Secret cannot be part of a resource, whose text everybody can read; use \
             `${random.NAME}`, or `secretKeyRef` with a Secret of the namespace"
                .into()
        }
        _ => format!(
            "kind `{kind}` of `{api_version}` cannot be part of a resource: expected what stays in \
             its namespace and acts on nothing else: {kinds}, or a kind of your own"
        ),
    }
}

//! The markers that stand for values in a template, and how a template is written.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::condition::{Conditions, Facts, VARIABLES};
use crate::{
    desired::{admission::module_pattern, installation::File},
    names::SETTINGS,
};

/// Puts a marker in place of everything in an object that a value of the chart replaces.
pub(super) fn mark(mut object: Value) -> Value {
    match object["kind"].as_str() {
        Some("Deployment") => {
            object["spec"]["replicas"] = REPLICAS.into();
            let pod = &mut object["spec"]["template"]["spec"];
            pod["nodeSelector"] = NODE_SELECTOR.into();
            pod["tolerations"] = TOLERATIONS.into();
            pod["containers"][0]["resources"] = RESOURCES.into();
            for argument in pod["containers"][0]["args"].as_array_mut().into_iter().flatten() {
                if argument.as_str().is_some_and(|argument| argument.starts_with("--mesh=")) {
                    *argument = format!("--mesh={MESHES}").into();
                }
            }
        }
        Some("ConfigMap") if object["metadata"]["name"] == SETTINGS => {
            object["data"] = SETTINGS_DATA.into();
        }
        _ => {}
    }
    mark_pattern(&mut object);
    object
}

/// The pattern of the module's address is part of expressions. In the chart, a definition computes it.
fn mark_pattern(value: &mut Value) {
    let pattern = json!(module_pattern(MODULE_URL)).to_string();
    match value {
        Value::String(text) => *text = text.replace(&pattern, &format!("\"{MODULE_PATTERN}\"")),
        Value::Array(items) => items.iter_mut().for_each(mark_pattern),
        Value::Object(fields) => fields.values_mut().for_each(mark_pattern),
        _ => {}
    }
}

/// The text of a template.
pub(super) fn template(
    about: &str,
    objects: &[Value],
    conditions: &Conditions,
) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        match object.as_str() {
            Some(marker) => text.push_str(&format!("{}\n", replaced(marker, conditions))),
            None => {
                let yaml = serde_saphyr::to_string(object).context("cannot write YAML")?;
                text.push_str("---\n");
                for line in yaml.trim_end().lines() {
                    text.push_str(&format!("{}\n", replaced(line, conditions)));
                }
            }
        }
    }
    let text = VARIABLES.iter().rev().fold(text, |text, (name, definition)| {
        if text.contains(name) {
            format!("{{{{- {name} := {definition} }}}}\n{text}")
        } else {
            text
        }
    });
    let is_namespace = objects.iter().any(|object| object["kind"] == "Namespace");
    let text = match is_namespace {
        true => format!("{{{{- if .Values.namespace.create }}}}\n{text}{{{{- end }}}}\n"),
        false => text,
    };
    Ok(format!("# {about}\n{text}"))
}

/// A line of YAML with expressions in place of its markers.
fn replaced(line: &str, conditions: &Conditions) -> String {
    let bare = line.trim_start_matches([' ', '-']);
    let indent = line.len() - line.trim_start().len();
    if let Some(number) = bare.strip_prefix(IF) {
        let condition = conditions.text(number.parse().unwrap_or(usize::MAX));
        return format!("{}{{{{- if {condition} }}}}", " ".repeat(indent));
    }
    if bare == END {
        return format!("{}{{{{- end }}}}", " ".repeat(indent));
    }
    if let Some(field) = line.strip_suffix(SETTINGS_DATA) {
        let field = field.trim_end();
        // As texts, because YAML takes `--set settings.enabled=false` for a boolean.
        return format!(
            "{field}\n  {{{{- range $name, $value := merge (dict \"mesh\" (join \",\" .Values.meshes)) \
             .Values.settings }}}}\n  {{{{ $name }}}}: {{{{ $value | toString | quote }}}}\n  {{{{- end }}}}"
        );
    }
    for (marker, value) in BLOCKS {
        if let Some(field) = line.strip_suffix(marker) {
            let field = field.trim();
            let (spaces, deeper) = (" ".repeat(indent), indent + 2);
            return format!(
                "{spaces}{{{{- with {value} }}}}\n{spaces}{field}\n{}{{{{- toYaml . | nindent {deeper} }}}}\n\
                 {spaces}{{{{- end }}}}",
                " ".repeat(deeper)
            );
        }
    }
    EXPRESSIONS
        .iter()
        .fold(line.to_owned(), |line, (marker, expression)| line.replace(marker, expression))
}

/// The chart's `values.yaml`: `text` with the defaults of the installation in it.
pub(super) fn values(
    text: &str,
    variants: &[(Facts, Vec<File>)],
    image: Option<&str>,
    module_url: Option<&str>,
) -> anyhow::Result<String> {
    let objects =
        || variants.iter().flat_map(|(_, files)| files).flat_map(|(_, _, objects)| objects);
    let find = |kind: &str, name: &str| {
        let mut objects = objects();
        objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name).cloned()
    };
    let deployment = find("Deployment", crate::names::CONTROLLER).context("no Deployment")?;
    let mut settings = find("ConfigMap", SETTINGS).context("no settings")?["data"].clone();
    // The value `meshes` sets it.
    settings.as_object_mut().context("no settings")?.remove("mesh");
    let resources = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"];
    let block = |value: &Value| -> anyhow::Result<String> {
        let yaml = serde_saphyr::to_string(value).context("cannot write YAML")?;
        let lines: Vec<_> = yaml.trim_end().lines().map(|line| format!("  {line}")).collect();
        Ok(lines.join("\n"))
    };
    Ok(text
        .replace(RESOURCES, &block(resources)?)
        .replace(SETTINGS_DATA, &block(&settings)?)
        .replace(REPLICAS, &deployment["spec"]["replicas"].to_string())
        .replace(IMAGE, &json!(image.unwrap_or_default()).to_string())
        .replace(MODULE_URL, &json!(module_url.unwrap_or_default()).to_string()))
}

/// Begins a condition; its number follows.
pub(super) const IF: &str = "SKYCAP_IF_";
/// Ends a condition.
pub(super) const END: &str = "SKYCAP_END";
pub(super) const ROOT_NAMESPACE: &str = "skycap-istio-namespace";
pub(super) const MODULE_URL: &str = "oci://skycap-module-url";
pub(super) const PULL_SECRET: &str = "skycap-pull-secret";
pub(super) const IMAGE: &str = "SKYCAP_IMAGE";
pub(super) const READERS: &str = "SKYCAP_READERS";
const MODULE_PATTERN: &str = "SKYCAP_MODULE_PATTERN";
const MESHES: &str = "SKYCAP_MESHES";
const REPLICAS: &str = "SKYCAP_REPLICAS";
const RESOURCES: &str = "SKYCAP_RESOURCES";
const NODE_SELECTOR: &str = "SKYCAP_NODE_SELECTOR";
const TOLERATIONS: &str = "SKYCAP_TOLERATIONS";
const SETTINGS_DATA: &str = "SKYCAP_SETTINGS";

/// Markers that are a whole field, and the value whose YAML it becomes.
const BLOCKS: [(&str, &str); 3] = [
    (RESOURCES, ".Values.resources"),
    (NODE_SELECTOR, ".Values.nodeSelector"),
    (TOLERATIONS, ".Values.tolerations"),
];

/// Markers within a line, and their expressions.
const EXPRESSIONS: [(&str, &str); 8] = [
    (MODULE_PATTERN, "{{ include \"skycap.modulePattern\" $ }}"),
    (MODULE_URL, "{{ include \"skycap.moduleURL\" $ }}"),
    (ROOT_NAMESPACE, "{{ $.Values.istioNamespace }}"),
    (PULL_SECRET, "{{ $.Values.module.pullSecret }}"),
    (IMAGE, "{{ required \"set `image` to the controller's image\" $.Values.image | quote }}"),
    (READERS, "{{ $.Values.readers | quote }}"),
    (MESHES, "{{ join \",\" $.Values.meshes }}"),
    (REPLICAS, "{{ $.Values.replicas }}"),
];

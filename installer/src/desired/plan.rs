//! A plan: the writes that bring a cluster to the desired state, as a value. `--dry-run` prints the
//! same plan that the real run executes, and an empty plan writes nothing.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::{Value, json};
use similar::TextDiff;

use crate::{
    objects::{Object, ObjectRef, PLUGIN_CONFIG, is_owned},
    problem::printable_lines,
    table::policies::PolicyKind,
};

/// The current state of the objects that a plan is about; missing objects have no entry.
pub type Live = BTreeMap<ObjectRef, DynamicObject>;

/// The writes to a cluster, in order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The writes; each is one request to the API server.
    pub steps: Vec<Step>,
}

/// One write.
#[derive(Debug, Clone)]
pub enum Step {
    /// Server-side apply of an object that does not exist.
    Create(Object),
    /// Creation of an object that stays as it is if it exists, and that nobody reads.
    Once(Object),
    /// Server-side apply of an object that differs from the one in the cluster.
    Update(Object, Box<DynamicObject>),
    /// Deletion of an object.
    Delete(ObjectRef),
}

impl Plan {
    /// The steps from `live` to `wanted`: first the wanted objects in the given order, then the
    /// deletion of the unwanted ones that exist and that skycap owns.
    #[must_use]
    pub fn new(wanted: Vec<Object>, unwanted: &[ObjectRef], live: &Live) -> Self {
        let names: Vec<_> = wanted.iter().map(Object::reference).collect();
        let writes = wanted.into_iter().filter_map(|object| match live.get(&object.reference()) {
            None => Some(Step::Create(object)),
            Some(live) if object.is_in_place(live) => None,
            Some(live) => Some(Step::Update(object, Box::new(live.clone()))),
        });
        let deletions = unwanted.iter().filter(|reference| {
            !names.contains(reference) && live.get(reference).is_some_and(is_owned)
        });
        let mut steps: Vec<_> = writes.chain(deletions.cloned().map(Step::Delete)).collect();
        // A key that moves to another HTTPRoute must never be missing from both, so new HTTPRoutes
        // are created before others shrink.
        steps.sort_by_key(|step| match step {
            Step::Update(object, _) if object.reference().kind == HTTP_ROUTE => 1,
            Step::Create(_) | Step::Once(_) | Step::Update(..) => 0,
            Step::Delete(_) => 2,
        });
        Self { steps }
    }

    /// The first steps, with at most `http_routes` HTTPRoutes among them, and whether these are all
    /// steps.
    #[must_use]
    pub fn first(mut self, http_routes: usize) -> (Self, bool) {
        let is_route = |step: &Step| step.reference().kind == HTTP_ROUTE;
        let mut routes = self.steps.iter().enumerate().filter(|(_, step)| is_route(step));
        let end = routes.nth(http_routes).map(|(index, _)| index);
        self.steps.truncate(end.unwrap_or(usize::MAX));
        (self, end.is_none())
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Step {
    /// The object that the step writes.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        match self {
            Self::Create(object) | Self::Once(object) | Self::Update(object, _) => {
                object.reference()
            }
            Self::Delete(reference) => reference.clone(),
        }
    }
}

/// One line for each step, followed by the changed lines of the object.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to change");
        }
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let (verb, diff) = match step {
                Step::Create(_) | Step::Once(_) => ("create", String::new()),
                Step::Update(object, live) => ("change", diff(live, object)),
                Step::Delete(_) => ("delete", String::new()),
            };
            write!(f, "{verb} {}", step.reference())?;
            for line in diff.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// The changed lines of the YAML with one line of context, at most [`DIFF_LINES`].
fn diff(live: &DynamicObject, wanted: &Object) -> String {
    changed_lines(&restrict(&live.data, &wanted.0.data), &wanted.0.data)
}

/// The changed lines between two states of an object, those of its labels and annotations too. What
/// controllers write into its status is no change; empty if there is none.
#[must_use]
pub fn difference(before: &DynamicObject, after: &DynamicObject) -> String {
    let whole = |object: &DynamicObject| {
        let (labels, annotations) = (&object.metadata.labels, &object.metadata.annotations);
        let mut whole = json!({"metadata": {"labels": labels, "annotations": annotations}});
        let fields = object.data.as_object().into_iter().flatten();
        for (name, value) in fields.filter(|(name, _)| *name != "status") {
            whole[name] = value.clone();
        }
        whole
    };
    changed_lines(&whole(before), &whole(after))
}

fn changed_lines(before: &Value, after: &Value) -> String {
    let text = |value| serde_saphyr::to_string(value).unwrap_or_default();
    let (before, after) = (text(before), text(after));
    let diff = TextDiff::from_lines(&before, &after);
    let diff = diff.unified_diff().context_radius(1).to_string();
    let mut lines: Vec<_> = diff.lines().filter(|line| !line.starts_with("@@")).collect();
    let hidden = lines.len().saturating_sub(DIFF_LINES);
    lines.truncate(DIFF_LINES);
    let rest = (hidden > 0).then(|| format!("\n… {hidden} more lines"));
    // YAML escapes control characters, and not those that change the direction of a line.
    printable_lines(&(lines.join("\n") + &rest.unwrap_or_default()))
}

/// `live` without the fields that `wanted` does not have: other field managers own these, so the
/// plan does not change them.
fn restrict(live: &Value, wanted: &Value) -> Value {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let fields = live.iter().filter_map(|(name, value)| {
                let is_whole = name == PLUGIN_CONFIG;
                match wanted.get(name).filter(|_| !is_whole) {
                    Some(wanted) => Some((name.clone(), restrict(value, wanted))),
                    None => is_whole.then(|| (name.clone(), value.clone())),
                }
            });
            Value::Object(fields.collect())
        }
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            live.iter().zip(wanted).map(|(live, wanted)| restrict(live, wanted)).collect()
        }
        _ => live.clone(),
    }
}

/// The only kind of which skycap writes a variable number of objects.
const HTTP_ROUTE: &str = PolicyKind::HttpRoute.names().1;
/// Lines of a diff that are printed for one object; the table of a large mesh has thousands.
const DIFF_LINES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes away is shown as what changes, and no more: others' fields stay in both states.
    #[test]
    fn a_difference_shows_what_goes() {
        let object = |labels: Value, data: Value, status: u8| {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data, "status": {"n": status},
                "metadata": {"name": "pr-9", "labels": labels, "resourceVersion": status.to_string()},
            });
            serde_json::from_value::<DynamicObject>(object).expect("an object")
        };
        let before = object(json!({"a": "1", "b": "2"}), json!({"x": "1", "expires": "soon"}), 1);
        let after = object(json!({"b": "2"}), json!({"x": "1"}), 2);
        let lines = difference(&before, &after);
        let changed: Vec<_> = lines.lines().filter(|line| line.starts_with(['+', '-'])).collect();
        assert_eq!(changed, ["-  expires: soon", "-    a: \"1\""], "{lines}");
        assert_eq!(difference(&after, &after), "");
    }
}

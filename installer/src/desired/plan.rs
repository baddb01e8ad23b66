//! The plan: what is to be written to a cluster, as a value. `--dry-run` prints the plan that the
//! real run executes, and a plan without steps writes nothing.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use similar::TextDiff;

use crate::{
    objects::{Object, ObjectRef, PLUGIN_CONFIG, is_owned},
    table::policies::PolicyKind,
};

/// The objects of a cluster that a plan is about, as they are now.
pub type Live = BTreeMap<ObjectRef, DynamicObject>;

/// What is to be written, in this order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Each is one request to the API server.
    pub steps: Vec<Step>,
}

/// One write.
#[derive(Debug, Clone)]
pub enum Step {
    /// Server-side apply of an object that is not there.
    Create(Object),
    /// Server-side apply of one that differs from what is there.
    Update(Object, Box<DynamicObject>),
    /// Delete.
    Delete(ObjectRef),
}

impl Plan {
    /// The steps from `live` to `wanted`: first what is wanted, in the given order, then the end
    /// of what is there and no longer wanted, if it bears skycap's mark.
    #[must_use]
    pub fn new(wanted: Vec<Object>, unwanted: &[ObjectRef], live: &Live) -> Self {
        let names: Vec<_> = wanted.iter().map(Object::reference).collect();
        let writes = wanted.into_iter().filter_map(|object| match live.get(&object.reference()) {
            None => Some(Step::Create(object)),
            Some(live) if object.is_in_place(live) => None,
            Some(live) => Some(Step::Update(object, Box::new(live.clone()))),
        });
        let ends = unwanted.iter().filter(|reference| {
            !names.contains(reference) && live.get(reference).is_some_and(is_owned)
        });
        let mut steps: Vec<_> = writes.chain(ends.cloned().map(Step::Delete)).collect();
        // A key that moves to another HTTPRoute is in both for a moment, and never in none: what is
        // new comes before what shrinks.
        steps.sort_by_key(|step| match step {
            Step::Update(object, _) if object.reference().kind == HTTP_ROUTE => 1,
            Step::Create(_) | Step::Update(..) => 0,
            Step::Delete(_) => 2,
        });
        Self { steps }
    }

    /// The first steps, with no more than so many HTTPRoutes among them, and whether that is all.
    #[must_use]
    pub fn first(mut self, http_routes: usize) -> (Self, bool) {
        let is_route = |step: &Step| step.reference().kind == HTTP_ROUTE;
        let mut routes = self.steps.iter().enumerate().filter(|(_, step)| is_route(step));
        let end = routes.nth(http_routes).map(|(place, _)| place);
        self.steps.truncate(end.unwrap_or(usize::MAX));
        (self, end.is_none())
    }

    /// Whether nothing is to be written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Step {
    /// Which object it writes.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        match self {
            Self::Create(object) | Self::Update(object, _) => object.reference(),
            Self::Delete(reference) => reference.clone(),
        }
    }
}

/// A line for each step, and under it the lines that change.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to change");
        }
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let (word, diff) = match step {
                Step::Create(_) => ("create", String::new()),
                Step::Update(object, live) => ("change", diff(live, object)),
                Step::Delete(_) => ("delete", String::new()),
            };
            write!(f, "{word}  {}", step.reference())?;
            for line in diff.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// The lines of YAML that change, with one line around each; of a large object the first forty.
fn diff(live: &DynamicObject, wanted: &Object) -> String {
    // What others say of the object is not in question.
    let before = restrict(&live.data, &wanted.0.data);
    let text = |value| serde_saphyr::to_string(value).unwrap_or_default();
    let (before, after) = (text(&before), text(&wanted.0.data));
    let diff = TextDiff::from_lines(&before, &after);
    let diff = diff.unified_diff().context_radius(1).to_string();
    let mut lines: Vec<_> = diff.lines().filter(|line| !line.starts_with("@@")).collect();
    let more = lines.len().saturating_sub(DIFF_LINES);
    lines.truncate(DIFF_LINES);
    let more = (more > 0).then(|| format!("\n… {more} lines more"));
    lines.join("\n") + &more.unwrap_or_default()
}

/// `live` without the fields that `wanted` says nothing of.
fn restrict(live: &serde_json::Value, wanted: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let fields = live.iter().filter_map(|(name, value)| {
                let whole = name == PLUGIN_CONFIG;
                let wanted = wanted.get(name).filter(|_| !whole);
                match wanted {
                    Some(wanted) => Some((name.clone(), restrict(value, wanted))),
                    None => whole.then(|| (name.clone(), value.clone())),
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

/// The kind of which there are many.
const HTTP_ROUTE: &str = PolicyKind::HttpRoute.names().1;
const DIFF_LINES: usize = 40;

//! `ready`: which object of a resource the forks wait for.

use std::{fmt, str::FromStr};

use super::{invalid::InvalidResource, part::Part};
use crate::problem::InvalidValue;

/// An object that can be ready, by its kind and its name with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    kind: &'static str,
    name: String,
}

impl Ready {
    /// # Errors
    /// It is missing, or names an object that the manifest does not have.
    pub(super) fn of(ready: Option<Self>, parts: &[Part]) -> Result<Self, InvalidResource> {
        let invalid = |text: String| InvalidResource::new("data.ready", text);
        let known = parts.iter().filter(|part| KINDS.iter().any(|(_, kind)| *kind == part.kind));
        let known: Vec<_> = known.map(Part::title).collect();
        let Some(ready) = ready else {
            return Err(invalid(format!("missing: expected {}", expected(&known))));
        };
        if parts.iter().any(|part| ready.is(part)) {
            return Ok(ready);
        }
        Err(invalid(format!("`{ready}` is not in the manifest: expected {}", expected(&known))))
    }

    /// Whether it is this object.
    pub(super) fn is(&self, part: &Part) -> bool {
        part.kind == self.kind && part.name == self.name
    }
}

impl FromStr for Ready {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let found = text.split_once('/').and_then(|(word, name)| {
            let word = word.to_ascii_lowercase();
            let (_, kind) = KINDS.into_iter().find(|(known, _)| *known == word)?;
            Some(Self { kind, name: name.to_owned() })
        });
        found.ok_or_else(|| InvalidValue::new("object", text, EXPECTED))
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

fn expected(known: &[String]) -> String {
    match known {
        [] => "a Deployment, StatefulSet, Job or Pod in the manifest".into(),
        known => known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
    }
}

const KINDS: [(&str, &str); 4] =
    [("deployment", "Deployment"), ("statefulset", "StatefulSet"), ("job", "Job"), ("pod", "Pod")];
const EXPECTED: &str =
    "`deployment/NAME`, `statefulset/NAME`, `job/NAME` or `pod/NAME` of the manifest";

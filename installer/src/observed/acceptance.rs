//! Whether a mesh has taken an HTTPRoute, as its status says.
//!
//! Accepted does not mean in effect: where a mesh is known to accept what it then passes over (an
//! opaque port, a filter that it has not), the adapter refuses to write it.

use kube::core::DynamicObject;
use serde_json::Value;

/// What the meshes' controllers say of an HTTPRoute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// None has said anything yet.
    Pending,
    /// It is taken.
    Accepted,
    /// It is not, or not all of it: by whom, and why.
    Refused(String),
}

impl Acceptance {
    /// Reads `status.parents`, of whichever controller (Gateway API, `RouteParentStatus`).
    #[must_use]
    pub fn of(route: &DynamicObject) -> Self {
        let mut accepted = false;
        for parent in list(&route.data["status"]["parents"]) {
            for condition in list(&parent["conditions"]) {
                let text = |field: &str| condition[field].as_str().unwrap_or_default();
                match (text("type"), text("status")) {
                    ("Accepted", "True") => accepted = true,
                    ("Accepted" | "ResolvedRefs", "False") => {
                        let by = parent["controllerName"].as_str().unwrap_or_default();
                        return Self::Refused(format!(
                            "{by} says {} {}: {}",
                            text("type"),
                            text("reason"),
                            text("message")
                        ));
                    }
                    _ => {}
                }
            }
        }
        if accepted { Self::Accepted } else { Self::Pending }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

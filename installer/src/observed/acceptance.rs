//! Whether a mesh has accepted an HTTPRoute, according to the route's status.
//!
//! Accepted does not mean in effect. Where meshes are known to accept a route and then ignore it
//! (an opaque port, an unsupported filter), [`gateway_api`](crate::desired::gateway_api) writes
//! none.

use kube::core::DynamicObject;
use serde_json::Value;

/// What the controllers of the meshes report about an HTTPRoute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// No controller has reported anything yet.
    Pending,
    /// It is accepted.
    Accepted,
    /// It is rejected, at least in part.
    Rejected(Rejection),
}

/// A condition in a route's status that is false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{controller} reports {condition}=False ({reason}): {message}")]
pub struct Rejection {
    /// The name of the mesh's controller, as `linkerd.io/policy-controller`.
    pub controller: String,
    /// The type of the condition, as `Accepted`.
    pub condition: String,
    /// Its reason, as `NoMatchingParent`.
    pub reason: String,
    /// Its message.
    pub message: String,
}

impl Acceptance {
    /// Reads `status.parents`, of any controller (Gateway API: `RouteParentStatus`).
    #[must_use]
    pub fn of(route: &DynamicObject) -> Self {
        let mut is_accepted = false;
        for parent in list(&route.data["status"]["parents"]) {
            for condition in list(&parent["conditions"]) {
                let text = |field: &str| condition[field].as_str().unwrap_or_default();
                match (text("type"), text("status")) {
                    ("Accepted", "True") => is_accepted = true,
                    (name @ ("Accepted" | "ResolvedRefs"), "False") => {
                        let controller = parent["controllerName"].as_str().unwrap_or_default();
                        return Self::Rejected(Rejection {
                            controller: controller.into(),
                            condition: name.into(),
                            reason: text("reason").into(),
                            message: text("message").into(),
                        });
                    }
                    _ => {}
                }
            }
        }
        if is_accepted { Self::Accepted } else { Self::Pending }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

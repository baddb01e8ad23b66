//! Whether the user has the permissions for all steps of a plan: checked before the first write, so
//! that no plan is applied in part.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};

use crate::desired::plan::{Plan, Step};

/// Asks the API server for the permissions of each step.
///
/// # Errors
/// All permissions that are missing.
pub async fn check(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for step in &plan.steps {
        let verbs: &[&str] = match step {
            // The API server requires both for a server-side apply that creates an object.
            Step::Create(_) => &["create", "patch"],
            Step::Update(..) => &["patch"],
            Step::Delete(_) => &["delete"],
        };
        for verb in verbs {
            if !is_allowed(client, step, verb).await? {
                missing.push(format!("{verb} {}", step.reference()));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "missing permissions; nothing was changed; ask an administrator for: {}",
        missing.join(", ")
    );
    Ok(())
}

async fn is_allowed(client: &Client, step: &Step, verb: &str) -> anyhow::Result<bool> {
    let reference = step.reference();
    let resource = reference.resource();
    let attributes = ResourceAttributes {
        group: Some(resource.group),
        resource: Some(resource.plural),
        // `resourceNames` cannot restrict `create`, so the name must not be in the question.
        name: (verb != "create").then_some(reference.name),
        namespace: reference.namespace,
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let review = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let review = review.context("cannot check permissions (create SelfSubjectAccessReview)")?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

//! Whether who runs this may write all of a plan: asked before the first write, so that nothing is
//! half applied.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};

use crate::desired::plan::{Plan, Step};

/// Asks the API server for each step.
///
/// # Errors
/// What may not be written, all of it.
pub async fn check(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for step in &plan.steps {
        let verbs: &[&str] = match step {
            // Server-side apply of what is not there is both to the API server.
            Step::Create(_) => &["create", "patch"],
            Step::Update(..) => &["patch"],
            Step::Delete(_) => &["delete"],
        };
        for verb in verbs {
            if !may(client, step, verb).await? {
                missing.push(format!("{verb} {}", step.reference()));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "you may not do all that this takes, and nothing is written; ask for the rights to: {}",
        missing.join(", ")
    );
    Ok(())
}

async fn may(client: &Client, step: &Step, verb: &str) -> anyhow::Result<bool> {
    let reference = step.reference();
    let resource = reference.resource();
    let attributes = ResourceAttributes {
        group: Some(resource.group),
        resource: Some(resource.plural),
        // A name cannot restrict `create`.
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
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let answer = answer.context("cannot ask the API server for one's rights")?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

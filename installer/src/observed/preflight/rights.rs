//! Whether the user has the permissions for all steps of a plan: checked before the first write, so
//! that no plan is applied in part.

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
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
    let asked = plan.steps.iter().flat_map(|step| {
        let verbs: &[&str] = match step {
            // The API server requires both for a server-side apply that creates an object.
            Step::Create(_) => &["create", "patch"],
            Step::Update(..) => &["patch"],
            Step::Delete(_) => &["delete"],
        };
        verbs.iter().map(move |verb| (step, *verb))
    });
    let answers = stream::iter(asked).map(|(step, verb)| async move {
        let is_missing = !is_allowed(client, step, verb).await?;
        anyhow::Ok(is_missing.then(|| format!("{verb} {}", step.reference())))
    });
    let answers: Vec<_> = answers.buffered(AT_ONCE).try_collect().await?;
    let missing: Vec<_> = answers.into_iter().flatten().collect();
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

/// How many questions to ask at once: a plan of many objects asks hundreds.
const AT_ONCE: usize = 16;

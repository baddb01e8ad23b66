//! Whether the user has the permissions for what a command is about to do: checked before it begins,
//! so that no plan is applied in part, and all that is missing is named at once.

use std::collections::BTreeSet;

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
    let questions = plan.steps.iter().flat_map(|step| {
        let verbs: &[&str] = match step {
            // The API server requires both for a server-side apply that creates an object.
            Step::Create(_) => &["create", "patch"],
            Step::Once(_) => &["create"],
            Step::Update(..) => &["patch"],
            Step::Delete(_) => &["delete"],
        };
        verbs.iter().map(move |verb| question(step, verb))
    });
    let missing = missing(client, questions.collect()).await?;
    ensure!(
        missing.is_empty(),
        "missing permissions; nothing was changed; ask an administrator for: {}",
        missing.join(", ")
    );
    Ok(())
}

/// Asks for the permissions that `test --forward` needs in these namespaces.
///
/// # Errors
/// All permissions that are missing.
pub async fn check_forwards(client: &Client, namespaces: BTreeSet<&str>) -> anyhow::Result<()> {
    let questions = namespaces.iter().flat_map(|namespace| {
        FORWARD.iter().map(move |(group, resource, subresource, verb)| {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let attributes = ResourceAttributes {
                group: Some((*group).into()),
                resource: Some((*resource).into()),
                subresource: Some((*subresource).into()),
                namespace: Some((*namespace).into()),
                verb: Some((*verb).into()),
                ..ResourceAttributes::default()
            };
            (format!("{verb} {resource}{slash}{subresource} in {namespace}"), attributes)
        })
    });
    let missing = missing(client, questions.collect()).await?;
    ensure!(
        missing.is_empty(),
        "missing permissions for `--forward`: {}; ask an administrator for the role that `skycap \
         render --role tests -n {}` writes",
        missing.join(", "),
        namespaces.first().copied().unwrap_or_default()
    );
    Ok(())
}

/// Whether the user may list the ConfigMaps of a namespace.
///
/// # Errors
/// The API server's error.
pub async fn may_list_config_maps(client: &Client, namespace: &str) -> anyhow::Result<bool> {
    let attributes = ResourceAttributes {
        resource: Some("configmaps".into()),
        namespace: Some(namespace.into()),
        verb: Some("list".into()),
        ..ResourceAttributes::default()
    };
    let question = (format!("list configmaps in {namespace}"), attributes);
    Ok(missing(client, vec![question]).await?.is_empty())
}

/// The group, resource, subresource and verb of what a forward asks the API server for. It asks for `get`
/// to begin a WebSocket, and for `create` to forward (1.35).
const FORWARD: [(&str, &str, &str, &str); 4] = [
    ("", "services", "", "get"),
    ("discovery.k8s.io", "endpointslices", "", "list"),
    ("", "pods", "portforward", "get"),
    ("", "pods", "portforward", "create"),
];

/// A permission, and how people call it.
type Question = (String, ResourceAttributes);

fn question(step: &Step, verb: &str) -> Question {
    let reference = step.reference();
    let text = format!("{verb} {reference}");
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
    (text, attributes)
}

async fn missing(client: &Client, questions: Vec<Question>) -> anyhow::Result<Vec<String>> {
    let answers = stream::iter(questions).map(|(text, attributes)| async move {
        let is_missing = !is_allowed(client, attributes).await?;
        anyhow::Ok(is_missing.then_some(text))
    });
    let answers: Vec<_> = answers.buffered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn is_allowed(client: &Client, attributes: ResourceAttributes) -> anyhow::Result<bool> {
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

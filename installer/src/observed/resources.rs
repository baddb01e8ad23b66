//! What a cluster permits of resources.

use anyhow::{Context as _, ensure};
use k8s_openapi::{
    api::authorization::v1::{
        LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams, core::GroupVersionKind, discovery};

use crate::{
    environment::{resource::is_custom, sandbox::Sandbox},
    names::{CONTROLLER, NAMESPACE},
    objects::{Object, ObjectRef},
};

/// # Errors
/// An object of a resource whose kind belongs to no namespace, or that the cluster does not serve.
pub async fn check_scopes(client: &Client, sandbox: &Sandbox) -> anyhow::Result<()> {
    let objects = sandbox.resources.iter().flat_map(|resource| &resource.objects);
    let references = objects.map(Object::reference);
    for reference in references.filter(|reference| is_custom(&reference.api_version)) {
        let ObjectRef { api_version, kind, .. } = &reference;
        let (group, version) = api_version.split_once('/').unwrap_or_default();
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let found = discovery::pinned_kind(client, &gvk).await;
        let found = found.with_context(|| {
            format!("the cluster does not serve {kind} of `{api_version}`; nothing was changed")
        });
        let (_, capabilities) = found?;
        ensure!(
            capabilities.scope == discovery::Scope::Namespaced,
            "{reference}: its kind belongs to no namespace, and a resource stays in that of its \
             sandbox; nothing was changed; remove it from the resource"
        );
    }
    Ok(())
}

/// # Errors
/// A resource has a Job for its end, and the controller may not run it. If the user may not ask, it is a
/// note.
pub async fn check_deletion(client: &Client, sandbox: &mut Sandbox) -> anyhow::Result<()> {
    let Some(resource) = sandbox.resources.iter().find(|resource| resource.has_delete) else {
        return Ok(());
    };
    let (name, namespace) = (&resource.resource, &sandbox.namespace);
    let apply = format!("`skycap render --role resources -n {namespace}`");
    match controller_may_run_jobs(client, namespace).await? {
        Some(true) => {}
        Some(false) => anyhow::bail!(
            "resource `{name}` has `delete`, and the controller has no permission to run Jobs in \
             namespace {namespace}; nothing was changed; ask an administrator to apply what {apply} \
             prints"
        ),
        None => sandbox.notes.push(format!(
            "resource `{name}` has `delete`, and you may not ask whether the controller can run it: \
             {apply} prints the roles for that"
        )),
    }
    Ok(())
}

/// Whether the controller may run the Jobs of `delete` in a namespace; `None` if the user may not ask.
async fn controller_may_run_jobs(client: &Client, namespace: &str) -> anyhow::Result<Option<bool>> {
    let reviews = Api::<LocalSubjectAccessReview>::namespaced(client.clone(), namespace);
    for (group, resource, verb) in
        [("batch", "jobs", "create"), ("batch", "jobs", "get"), ("", "configmaps", "patch")]
    {
        let attributes = ResourceAttributes {
            group: Some(group.into()),
            resource: Some(resource.into()),
            namespace: Some(namespace.into()),
            verb: Some(verb.into()),
            ..ResourceAttributes::default()
        };
        let review = LocalSubjectAccessReview {
            metadata: ObjectMeta { namespace: Some(namespace.into()), ..ObjectMeta::default() },
            spec: SubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                user: Some(format!("system:serviceaccount:{NAMESPACE}:{CONTROLLER}")),
                ..SubjectAccessReviewSpec::default()
            },
            ..LocalSubjectAccessReview::default()
        };
        match reviews.create(&PostParams::default(), &review).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(None),
            answer => {
                let answer = answer.context("cannot ask for the controller's permissions")?;
                if !answer.status.is_some_and(|status| status.allowed) {
                    return Ok(Some(false));
                }
            }
        }
    }
    Ok(Some(true))
}

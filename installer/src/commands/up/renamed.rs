//! Sandboxes that a pull request has left behind under another name.

use kube::Client;

use super::repository;
use crate::{
    environment::{plan::REPOSITORY, sandbox::Sandbox},
    names::PULL_REQUEST_LABEL,
    objects::ObjectRef,
    observed::api::api,
    table::report::FragmentReport,
};

/// In CI, a note for each sandbox of the same pull request of the same repository that has another name. Who
/// may not read one of them gets none.
pub(super) async fn notes(
    client: &Client,
    sandbox: &Sandbox,
    fragments: &[FragmentReport],
) -> Vec<String> {
    let pull_request = sandbox.spec.labels.get(PULL_REQUEST_LABEL);
    let (Some(own), Some(pull_request)) = (repository(), pull_request) else { return Vec::new() };
    let others = fragments.iter().filter(|other| {
        other.namespace == sandbox.namespace
            && other.pull_request.as_ref() == Some(pull_request)
            && other.name != sandbox.spec.name
    });
    let mut notes = Vec::new();
    for FragmentReport { namespace, name, .. } in others {
        let found = api(client, &ObjectRef::config_map(namespace, name)).get_opt(name).await;
        let annotations = found.ok().flatten().and_then(|map| map.metadata.annotations);
        if annotations.is_some_and(|all| all.get(REPOSITORY) == Some(&own)) {
            notes.push(format!(
                "sandbox {namespace}/{name} is of pull request {pull_request} too; if this is its new name, \
                 run `skycap down {name} -n {namespace}`"
            ));
        }
    }
    notes
}

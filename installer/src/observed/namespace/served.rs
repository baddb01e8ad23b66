//! Which API groups a cluster serves.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Client;

/// The API groups that the cluster serves, each with its versions; `None` if nobody may know.
pub(super) struct Served(Option<BTreeMap<String, Vec<String>>>);

impl Served {
    pub(super) async fn read(client: &Client) -> Self {
        let groups = client.list_api_groups().await.ok();
        Self(groups.map(|list| {
            let versions = |group: &APIGroup| {
                let preferred = group.preferred_version.iter();
                let all = preferred.chain(&group.versions);
                (group.name.clone(), all.map(|one| one.group_version.clone()).collect())
            };
            list.groups.iter().map(versions).collect()
        }))
    }

    pub(super) fn has(&self, api_version: &str) -> bool {
        let group = api_version.split('/').next().unwrap_or_default();
        self.0.as_ref().is_none_or(|groups| groups.contains_key(group))
    }

    /// The version if it is served, or else the one that the group prefers.
    pub(super) fn version(&self, api_version: &str) -> String {
        let group = api_version.split('/').next().unwrap_or_default();
        let versions = self.0.as_ref().and_then(|groups| groups.get(group));
        let other = versions.filter(|all| !all.iter().any(|one| one == api_version));
        let preferred = other.and_then(|all| all.first());
        preferred.map_or_else(|| api_version.to_owned(), Clone::clone)
    }
}

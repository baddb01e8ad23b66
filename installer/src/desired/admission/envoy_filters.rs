//! What the controller may write into an EnvoyFilter: the patches that skycap writes, and no others.

use serde_json::json;
use skycap_core::{
    carrier::{RESERVED_HEADERS, RESERVED_PREFIXES},
    config::{ClusterDomain, Dispatch},
};

use super::controller::cel;
use crate::{
    desired::istio::{
        CONTEXTS, IstioMesh, dispatch_route, early_removal, edge_patch, patch_connection_manager,
    },
    names::{CANARY, DISPATCH_ROUTE, EDGE},
};

/// Expressions that hold for skycap's EnvoyFilters, each with the message if it does not.
pub(super) fn filter_checks(mesh: &IstioMesh) -> Vec<(String, &'static str)> {
    let (dispatch, removal) = (dispatch_patch(), removal_patch(mesh));
    let contexts = cel(&json!(CONTEXTS));
    vec![
        (
            format!(
                "(request.name == '{CANARY}') == has(object.spec.workloadSelector) && \
                 object.spec.all(field, field in ['configPatches', 'workloadSelector'])"
            ),
            "only the canary's EnvoyFilter selects workloads",
        ),
        (
            format!(
                "request.name != '{DISPATCH_ROUTE}' || \
                 object.spec.configPatches.all(patch, {dispatch})"
            ),
            "an EnvoyFilter may hold only the patches of skycap's dispatch",
        ),
        (
            format!(
                "request.name != '{DISPATCH_ROUTE}' || object.spec.configPatches.filter(patch, \
                 patch.applyTo == 'NETWORK_FILTER').map(patch, patch.match.context) == {contexts}"
            ),
            "the dispatch header of clients must be removed",
        ),
        (
            format!(
                "request.name != '{CANARY}' || object.spec.configPatches.all(patch, {removal})"
            ),
            "the canary's EnvoyFilter may only remove skycap's own plugin",
        ),
        (
            format!(
                "request.name != '{EDGE}' || object.spec.configPatches.all(patch, {})",
                edge_check()
            ),
            "the EnvoyFilter of an edge may only remove carriers from requests",
        ),
    ]
}

/// A patch of the dispatch: as [`IstioMesh`] writes it, with any cluster domain.
fn dispatch_patch() -> String {
    let headers = [Dispatch::ClusterHeader, Dispatch::Header].into_iter();
    let removals: Vec<_> = headers
        .filter_map(Dispatch::owned_header)
        .flat_map(|header| {
            CONTEXTS.map(|context| patch_connection_manager(context, &early_removal(header)))
        })
        .collect();
    let mut route = dispatch_route(&ClusterDomain::default());
    let matched = route["match"].take();
    let header = &matched["headers"][0]["name"];
    let prefix = r"outbound\|[0-9]+\|\|[a-z0-9-]+\.[a-z0-9-]+\.svc\.";
    let fields = route.as_object().into_iter().flatten().filter(|(name, _)| *name != "match");
    let same: String = fields
        .map(|(name, value)| format!(" && patch.patch.value.{name} == {}", cel(value)))
        .collect();
    let names: Vec<_> = route.as_object().into_iter().flat_map(|route| route.keys()).collect();
    format!(
        "patch in {} || (patch.applyTo == 'HTTP_ROUTE' && patch.match.all(field, field == 'context') \
         && patch.patch.operation == 'INSERT_FIRST' && patch.patch.all(field, field in ['operation', 'value']) \
         && patch.patch.value.all(field, field in {}){same} \
         && patch.patch.value.match.all(field, field in ['prefix', 'headers']) \
         && patch.patch.value.match.headers.size() == 1 \
         && patch.patch.value.match.headers.all(header, header.name == {} \
         && header.all(field, field in ['name', 'string_match']) \
         && header.string_match.all(field, field == 'safe_regex') \
         && header.string_match.safe_regex.regex.startsWith({})))",
        cel(&json!(removals)),
        cel(&json!(names)),
        cel(header),
        cel(&json!(prefix)),
    )
}

/// A patch that removes skycap's own plugin from the canary's workloads.
fn removal_patch(mesh: &IstioMesh) -> String {
    let filters = mesh.filter_names();
    format!(
        "patch.applyTo == 'HTTP_FILTER' && patch.patch == {{'operation': 'REMOVE'}} && \
         patch.match.listener.filterChain.filter.subFilter.name in {}",
        cel(&json!(filters))
    )
}

/// A patch of the edge: as [`IstioMesh`] writes it, for any header that may be a carrier, and with any
/// condition under which the header stays.
fn edge_check() -> String {
    let mut patch = edge_patch("HEADER", &[]);
    let filter = patch["patch"]["value"].take();
    let config = &filter["typed_config"];
    // The header is what the filter's name ends with.
    let header = "patch.patch.value.name.substring(PREFIX)";
    let prefix = filter["name"].as_str().unwrap_or_default().trim_end_matches("HEADER");
    let header = header.replace("PREFIX", &prefix.len().to_string());
    let removal = cel(&config["extension_config"]).replace("\"HEADER\"", &header);
    format!(
        "patch.applyTo == 'HTTP_FILTER' && patch.match == {} && patch.all(field, field in \
         ['applyTo', 'match', 'patch']) && patch.patch.operation == 'INSERT_BEFORE' && \
         patch.patch.all(field, field in ['operation', 'value']) && \
         patch.patch.value.all(field, field in ['name', 'typed_config']) && \
         patch.patch.value.name.startsWith({}) && \
         {header}.matches('^[a-z0-9_-]+$') && ({header} == 'baggage' || \
         !({header} in {} || {}.exists(prefix, {header}.startsWith(prefix)))) && \
         patch.patch.value.typed_config.all(field, field in ['@type', 'extension_config', 'xds_matcher']) && \
         patch.patch.value.typed_config['@type'] == {} && \
         patch.patch.value.typed_config.extension_config == {removal}",
        cel(&patch["match"]),
        cel(&json!(prefix)),
        cel(&json!(RESERVED_HEADERS)),
        cel(&json!(RESERVED_PREFIXES)),
        cel(&config["@type"]),
    )
}

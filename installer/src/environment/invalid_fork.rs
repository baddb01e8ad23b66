//! Why a workload cannot be forked.

use std::collections::BTreeSet;

use super::spec::InvalidFile;

/// Why a workload cannot be forked.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFork {
    /// There is no such workload.
    #[error("not found; {}", nearest_workload(.known, name))]
    NotFound {
        /// The workload.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// Its manifest has another API version.
    #[error(
        "its manifest has `apiVersion: {version}`; expected `{expected}`, which clusters serve"
    )]
    Outdated {
        /// The version.
        version: String,
        /// The one that is read.
        expected: &'static str,
    },
    /// It is a fork itself.
    #[error("it is a fork of sandbox `{0}`; fork its baseline")]
    OfFork(String),
    /// A Rollout with `workloadRef`, or a workload without a template.
    #[error("it has no Pod template of its own; fork {0}")]
    NoTemplate(String),
    /// An image without a name.
    #[error("the image of container `{0}` is empty; check that its variable has a value")]
    EmptyImage(String),
    /// A container that is not there.
    #[error("container `{name}` not found; {}", nearest("it has", .known, name))]
    NoContainer {
        /// The container.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// An image that could be for several containers.
    #[error(
        "`image` could be for {}; name the container, as in `images: {{{}: IMAGE}}` or \
         `--image {}=IMAGE`", alternatives(.0), first(.0), first(.0)
    )]
    SeveralContainers(Vec<String>),
    /// Ports of the node, which its baseline has.
    #[error(
        "it uses ports of its node, which its baseline has: {}; give each of them \
         `{{containerPort: PORT, hostPort: null}}` with a patch of `ports`", list(.0)
    )]
    HostPorts(BTreeSet<u64>),
    /// The network of the node.
    #[error("it uses its node's network; set `hostNetwork: null` with a patch")]
    HostNetwork,
    /// A selector that no label can escape.
    #[error(
        "{0} would select the fork as if it were the baseline; change its selector to labels that \
         only the baseline has"
    )]
    StillSelected(String),
    /// A Service without Pods of its own.
    #[error(
        "Service `{0}` has type ExternalName, which a mesh does not route; give it another type"
    )]
    ExternalName(String),
    /// The annotation of its owner.
    #[error("annotation skycap.dev/fork: {0}; ask the owner of the workload to correct it")]
    Annotation(InvalidFile),
    /// A patch that leaves no workload.
    #[error("the patch leaves an object that is not a workload: {0}")]
    Malformed(String),
}

fn nearest_workload(known: &[String], name: &str) -> String {
    match known {
        [] => "the namespace has no workload that can be forked; check `-n`, or `namespace` in the file"
            .into(),
        known => nearest("the namespace has", known, name),
    }
}

/// `known`, or the one of them that is most like `name`.
fn nearest(what: &str, known: &[String], name: &str) -> String {
    let names: Vec<_> = known.iter().map(String::as_str).collect();
    if let Some(nearest) = similar::get_close_matches(name, &names, 1, 0.8).first() {
        return format!("did you mean `{nearest}`?");
    }
    match known.len() {
        ..=NAMES => format!("{what} {}", known.join(", ")),
        more => format!("{what} {} and {} more", names[..NAMES].join(", "), more - NAMES),
    }
}

fn list(ports: &BTreeSet<u64>) -> String {
    ports.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Such as `app, log or proxy`.
fn alternatives(names: &[String]) -> String {
    match names.split_last() {
        Some((last, others @ [_, ..])) => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

fn first(names: &[String]) -> &str {
    names.first().map_or("CONTAINER", String::as_str)
}

/// How many names an error lists.
const NAMES: usize = 20;

//! Labels and names of a fork: derived from the baseline's, and never longer than Kubernetes permits.

use kube::core::DynamicObject;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::names::{MANAGED_BY, OWNER_LABEL, PULL_REQUEST_LABEL};

/// Maximum bytes of a label's value, and of a Service's name (RFC 1123).
const MAX_BYTES: usize = 63;
/// Maximum bytes of a StatefulSet's name: its controller labels each Pod with the name, `-` and a hash of
/// up to 10 digits (kubernetes/kubernetes#64023).
const STATEFUL_SET_BYTES: usize = MAX_BYTES - 11;
/// Maximum bytes of a resource's name in a sandbox: a StatefulSet of it may have 11 more.
const RESOURCE_BYTES: usize = 40;
/// Digits of the hash at the end of a shortened name: with 32 bits, two of 1,000 shortened names are
/// equal in one of 8,000 namespaces, and then the second one is rejected as taken.
const HASH_DIGITS: usize = 8;

/// `<base>-<sandbox>`: the name of what stands for `base` in a sandbox, and the value of its labels.
///
/// If that is longer than 63 bytes, its end is replaced by a hash of the whole. It ends with the
/// sandbox wherever possible, since the table stores such names only once (`cart-{key}`).
#[must_use]
pub fn in_sandbox(base: &str, sandbox: &str) -> String {
    // An empty value is a valid label, but `-pr-1` is not.
    if base.is_empty() {
        return shorten(sandbox);
    }
    shorten(&format!("{base}-{sandbox}"))
}

/// The name of what stands for a StatefulSet in a sandbox.
pub(super) fn stateful_set_in_sandbox(base: &str, sandbox: &str) -> String {
    shorten_to(STATEFUL_SET_BYTES, &format!("{base}-{sandbox}"))
}

/// The name of a resource in a sandbox, which its objects' names begin with: short enough for a suffix.
pub(super) fn resource_in_sandbox(resource: &str, sandbox: &str) -> String {
    shorten_to(RESOURCE_BYTES, &format!("{resource}-{sandbox}"))
}

/// At most 63 bytes that stand for `text`.
pub(super) fn shorten(text: &str) -> String {
    shorten_to(MAX_BYTES, text)
}

fn shorten_to(bytes: usize, text: &str) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..bytes - HASH_DIGITS).rev().find(|end| text.is_char_boundary(*end));
    let kept = text[..end.unwrap_or(0)].trim_end_matches(['-', '.', '_']);
    format!("{kept}-{}", short_hash(text.as_bytes()))
}

/// The first digits of the SHA-256 of `bytes`, in hexadecimal.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    let bytes = digest(&SHA256, bytes);
    bytes.as_ref().iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a hash of the whole object into one of its labels. A plan compares only the fields that it
/// sets, so it would not notice one that is no longer set; this it does notice.
pub(super) fn stamp(object: &mut Value) {
    let hash = short_hash(object.to_string().as_bytes());
    object["metadata"]["labels"][REVISION_LABEL] = hash.into();
}

/// # Errors
/// A label of the ConfigMap that skycap itself sets, or one of skycap's that means nothing there.
pub(crate) fn check_label_name(name: &str) -> Result<(), String> {
    let is_own = name == MANAGED_BY || name.starts_with("skycap.dev/");
    if !is_own || KNOWN_LABELS.contains(&name) {
        return Ok(());
    }
    let nearest = similar::get_close_matches(name, &KNOWN_LABELS, 1, 0.8);
    Err(match nearest.first() {
        Some(nearest) => format!("unknown label `{name}`; did you mean `{nearest}`?"),
        None => format!(
            "label `{name}` is skycap's own; expected {}, or a name of your own",
            KNOWN_LABELS.join(", ")
        ),
    })
}

/// skycap's labels that a user may give a sandbox.
const KNOWN_LABELS: [&str; 2] = [OWNER_LABEL, PULL_REQUEST_LABEL];
/// The label of a fork's objects with a hash of what `up` applied.
pub(super) const REVISION_LABEL: &str = "skycap.dev/revision";
/// The label of a fork's objects and Pods with the name of the sandbox.
pub const SANDBOX_LABEL: &str = "skycap.dev/sandbox";
/// The label of a fork and its Pods with the fork's name.
pub const FORK_LABEL: &str = "skycap.dev/fork";

/// The hash that `stamp` has written.
pub(super) fn revision(object: &DynamicObject) -> Option<&String> {
    object.metadata.labels.as_ref()?.get(REVISION_LABEL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_fit_and_differ(base in "[a-z]([a-z0-9-]{0,61}[a-z0-9])?", a in "[a-z]([a-z0-9-]{0,61}[a-z0-9])?", b in "[a-z]([a-z0-9-]{0,61}[a-z0-9])?") {
            let name = in_sandbox(&base, &a);
            prop_assert!(skycap_core::names::check_label(&name).is_ok(), "{}", name);
            prop_assert_eq!(name == in_sandbox(&base, &b), a == b);
            prop_assert_ne!(name, base);
        }
    }
}

//! The limits of a fragment and of the table, so that no namespace can use up what all share.
//!
//! The admission policy ([`admission`](crate::desired::admission)) enforces the limits of a
//! fragment too, as far as CEL can count.

/// Maximum bytes of a fragment's data, names and values together.
pub const FRAGMENT_BYTES: usize = 64 << 10;

/// Maximum routes of a fragment.
pub const FRAGMENT_ROUTES: usize = 256;

/// Maximum members of a group, those that it matches among them.
pub const FRAGMENT_MEMBERS: usize = 64;

/// Maximum queues of a sandbox.
pub const FRAGMENT_QUEUES: usize = 16;

/// Maximum queues of a namespace. Beyond it, the youngest are refused.
pub const NAMESPACE_QUEUES: usize = 64;

/// Maximum bytes of the table as JSON and of the [rules](super::queue::rules) of queues together. Beyond it, the namespace that uses the most of it loses its
/// youngest fragments.
///
/// etcd accepts requests of up to 1.5 MiB. The difference is for the plugin around the table, and
/// for what Kubernetes and other field managers add to the object.
pub const TABLE_BYTES: usize = 1_184 << 10;

/// Maximum keys that the search under one key visits. Farther ones are not searched, because a chain
/// of keys that extend one another would otherwise cost the square of its length.
pub const SEARCHED_KEYS: usize = 256;

/// Maximum routes and keys that the searches of one namespace's groups and extended keys visit
/// together, and maximum sandboxes that their `match` looks at. Beyond it, the youngest of them are left out, like beyond [`TABLE_BYTES`]. A thousand
/// groups of 64 sandboxes with 10 routes each stay below.
pub const NAMESPACE_VISITS: usize = 1 << 20;

/// Maximum warnings of one namespace in a report. The others are counted.
pub const NAMESPACE_WARNINGS: usize = 500;

//! From ConfigMaps to the routing table. Pure: no I/O except reading files, no clock.
//!
//! One ConfigMap passes through these files:
//! 1. [`manifests`] reads it from a file. [`role`] decides what it is for, and [`origin`] says which
//!    ConfigMap it is and how old.
//! 2. [`fragments`] parses a sandbox or a group, [`queue`] a queue, [`settings`] the settings and
//!    [`rollout`] the record of a rollout. All of them take their values out of `data`.
//! 3. [`input`] keeps the parsed values, beside the [`cluster`]'s Services and the [`policies`] of
//!    other owners.
//! 4. [`compile`] turns the input into a [`PluginConfig`](skycap_core::config::PluginConfig), the
//!    type that the filter reads, and a [`report`] on every fragment: `claims` decides which
//!    fragment replaces which destination under a key, `flatten` follows the keys that a key joins or
//!    extends, and `rows` makes the table and leaves out what does not fit ([`limits`]).

pub mod availability;
mod carriers;
mod claims;
pub mod cluster;
pub mod compile;
pub(crate) mod data;
pub mod edge;
pub(crate) mod expiry;
mod findings;
mod flatten;
pub mod fragments;
pub mod input;
pub mod key_owners;
pub mod limits;
pub mod manifests;
pub mod matching;
pub mod meshes;
pub mod origin;
pub mod policies;
pub mod queue;
pub mod report;
pub mod role;
pub mod rollout;
pub mod routes;
mod rows;
pub mod selector;
pub mod settings;
mod target;
pub(crate) mod yaml;

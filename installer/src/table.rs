//! From ConfigMaps to the routing table: pure, no I/O, no clock.
//!
//! One ConfigMap's way through the files here:
//! 1. [`manifests`] reads it from a file; [`origin`] says which ConfigMap it is;
//! 2. [`fragments`] parses a labelled one into a sandbox or a group, [`settings`] the settings,
//!    [`rollout`] the record of a roll-out. All three take their values out of `data`;
//! 3. [`input`] keeps what was parsed, beside the [`cluster`]'s Services and others' [`policies`];
//! 4. [`compile`] turns the input into a [`PluginConfig`](skycap_core::config::PluginConfig), the
//!    type that the filter itself reads, and [`report`] says what became of every fragment.

pub mod cluster;
pub mod compile;
pub(crate) mod data;
mod expiry;
mod flatten;
pub mod fragments;
pub mod input;
pub mod manifests;
pub mod meshes;
pub mod origin;
pub mod policies;
pub mod report;
pub mod rollout;
pub mod routes;
pub mod selector;
pub mod settings;

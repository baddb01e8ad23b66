//! From ConfigMaps to the routing table. Pure: no I/O except reading files, no clock.
//!
//! One ConfigMap passes through these files:
//! 1. [`manifests`] reads it from a file. [`role`] decides what it is for, and [`origin`] says which
//!    ConfigMap it is and how old.
//! 2. [`fragments`] parses a sandbox or a group, [`settings`] the settings and [`rollout`] the
//!    record of a rollout. All three take their values out of `data`.
//! 3. [`input`] keeps the parsed values, beside the [`cluster`]'s Services and the [`policies`] of
//!    other owners.
//! 4. [`compile`] turns the input into a [`PluginConfig`](skycap_core::config::PluginConfig), the
//!    type that the filter reads, and a [`report`] on every fragment.

pub mod availability;
mod carriers;
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
pub mod role;
pub mod rollout;
pub mod routes;
pub mod selector;
pub mod settings;
mod target;
mod yaml;

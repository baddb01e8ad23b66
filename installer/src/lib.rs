//! The library of the command `skycap`: how ConfigMaps become a routing table.
//!
//! One ConfigMap's way from kubectl to the table:
//! 1. [`manifests`] reads files into documents, each with the file and the line where it begins;
//! 2. [`fragments`] parses a labelled ConfigMap into a sandbox or a group, [`settings`] the one
//!    with the settings; what is malformed is refused with the field's name;
//! 3. [`compile`] turns fragments, settings, Services and EndpointSlices into a
//!    [`PluginConfig`](skycap_core::config::PluginConfig), the type that the filter itself reads;
//! 4. [`report`] says for every fragment what became of it.
//!
//! All but the reading of files is pure: the same input and the same time give the same bytes.
#![forbid(unsafe_code)]

pub mod admission;
pub mod api;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod compile;
pub mod controller;
pub mod curl;
mod expiry;
pub mod explain;
mod flatten;
pub mod fragments;
pub mod input;
pub mod install;
pub mod manifests;
pub mod objects;
pub mod plan;
pub mod problem;
mod progress;
pub mod report;
mod routes;
pub mod selector;
pub mod settings;
pub mod status;

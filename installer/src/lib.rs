//! The library of the command `skycap`: how ConfigMaps become a routing table, and how the table
//! comes into the mesh.
//!
//! One ConfigMap's way from kubectl to the table:
//! 1. it comes from a file ([`manifests`]) or from a watch ([`controller`]);
//! 2. [`fragments`] parses a labelled one into a sandbox or a group, [`settings`] the one with the
//!    settings; what is malformed is refused with the field's name. [`input`] keeps what is parsed;
//! 3. [`compile`] turns fragments, settings, Services and EndpointSlices into a
//!    [`PluginConfig`](skycap_core::config::PluginConfig), the type that the filter itself reads;
//!    [`report`] says for every fragment what became of it;
//! 4. [`istio`] and [`gateway_api`] turn the table into objects, [`wanted`] joins them, [`plan`]
//!    compares them with what is there, and
//!    [`api`] writes what differs.
//!
//! The module's way is beside it: [`oci`] puts it into a registry, [`rollout`] gives a new one to some
//! workloads first, and [`sidecars`] tells what they serve.
//!
//! Steps 2 and 3 and the plan are pure: the same input and the same time give the same bytes.
//! [`commands`] has what people type; [`explain`], [`check`] and [`status`] what they read.
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
pub mod gateway_api;
pub mod input;
pub mod install;
pub mod istio;
pub mod manifests;
pub mod meshes;
pub mod objects;
pub mod oci;
pub mod plan;
pub mod preflight;
pub mod problem;
mod progress;
pub mod report;
pub mod rollout;
mod routes;
pub mod selector;
pub mod settings;
pub mod sidecars;
pub mod snapshot;
pub mod status;
pub mod wanted;

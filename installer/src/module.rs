//! The module's way: into a registry ([`oci`], [`registry`]), and to some workloads before it goes
//! to all of them ([`trial`], [`verdict`]).

pub mod oci;
pub mod registry;
pub mod trial;
pub mod verdict;

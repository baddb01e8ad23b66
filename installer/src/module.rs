//! How the filter's module gets to the sidecars: into a registry ([`oci`], [`registry`]), and first
//! to some workloads before it goes to all ([`trial`], [`verdict`]).

pub mod oci;
pub mod registry;
pub mod signature;
pub mod trial;
pub mod verdict;

//! The current state of a cluster, and how a plan is applied to it. For the commands and the
//! controller, this is the only module that calls the API server about objects of the mesh.

pub mod acceptance;
pub mod api;
pub mod causes;
pub mod connect;
pub mod forks;
pub mod namespace;
pub mod preflight;
pub mod published;
pub mod readiness;
pub mod resources;
pub mod served;
pub mod sidecars;
pub mod snapshot;

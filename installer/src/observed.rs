//! What a cluster holds, and how a plan is applied to it: the only room that calls the API server
//! for the commands and the controller alike.

pub mod acceptance;
pub mod api;
pub mod connect;
pub mod preflight;
pub mod sidecars;
pub mod snapshot;

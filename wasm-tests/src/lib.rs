//! What proves skycap: the module's build, real Envoys, a shop, an in-process host, the suite.
//!
//! | room | what |
//! |---|---|
//! | [`module`] | builds the filter for wasm32 with the toolchain that is to be had |
//! | [`host`] | an in-process Proxy-Wasm host on wasmi, which counts what a request costs |
//! | [`envoy`] | a real Envoy, configured as istiod would |
//! | [`shop`] | three small services that propagate baggage, each with its own sidecar |
//! | [`faulty`] | modules that a roll-out must not let through |
//! | [`cluster`] | a real etcd and kube-apiserver, and the controller as a process |
//! | [`case`] | the case table, which runs natively, through the module, and as HTTPRoutes |
//! | [`mesh`] | how Linkerd and other meshes of the Gateway API pick a rule: a model, with its sources |
//! | [`suite`] | the tiers of `cargo suite` |
#![forbid(unsafe_code)]

pub mod case;
pub mod client;
pub mod cluster;
pub mod compare;
pub mod echo;
pub mod envoy;
pub mod faulty;
pub mod host;
pub mod mesh;
pub mod module;
pub mod picture;
pub mod progress;
pub mod shop;
pub mod suite;
pub mod workspace;

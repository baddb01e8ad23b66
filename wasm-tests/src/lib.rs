//! The tests of skycap and what they need: the module's build, real programs, the suite.
//!
//! | module | content |
//! |---|---|
//! | [`module`] | builds the filter for wasm32 with the toolchain that is available |
//! | [`host`] | an in-process Proxy-Wasm host on wasmi, which counts the cost of a request |
//! | [`envoy`] | a real Envoy, configured as istiod configures it |
//! | [`shop`] | three small services that propagate baggage, each with its own sidecar |
//! | [`faulty`] | modules that a rollout must reject |
//! | [`cluster`] | a real etcd and kube-apiserver, and the controller as a process |
//! | [`kafka`] | real Kafka brokers |
//! | [`code_host`] | a server that takes comments as GitHub and GitLab do |
//! | [`case`] | the case table, which runs natively, through the module and as HTTPRoutes |
//! | [`http_route_model`] | a model of how Linkerd and other meshes rank HTTPRoutes, with sources |
//! | [`demo`] | the scenes of `cargo demo` |
//! | [`fixture`] | what the tests on a real API server share |
//! | [`suite`] | the tiers of `cargo suite` |
//! | [`compare`] | the measurements of `cargo compare` |
//! | [`process`] | child processes that end with their parent |
#![forbid(unsafe_code)]

pub mod case;
pub mod client;
pub mod cluster;
pub mod code_host;
pub mod compare;
pub mod demo;
pub mod echo;
pub mod envoy;
pub mod faulty;
pub mod fixture;
pub mod host;
pub mod http_route_model;
pub mod kafka;
pub mod module;
pub mod picture;
pub mod process;
pub mod progress;
pub mod shop;
pub mod suite;
pub mod workspace;

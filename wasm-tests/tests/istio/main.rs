//! Istio's own programs between the controller and Envoy. Each sidecar listens on the ports of the
//! Services themselves, so one test runs at a time.

mod attacks;
mod edge;
mod filter;
mod install;
mod istio_objects;
mod kinds_of_services;
mod load;
mod observe;
mod oci;
mod playground;
mod preflight;
mod rollout;
mod routes;
mod scale;
mod shop;
mod status;

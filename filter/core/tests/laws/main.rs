//! The laws of the data plane, as properties over generated input.
//!
//! Native only: proptest needs a source of random numbers.
#![cfg(not(target_arch = "wasm32"))]

mod baggage;
mod decision;
mod edge;
mod inject;
mod key;

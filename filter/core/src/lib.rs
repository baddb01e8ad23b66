//! What skycap decides for a request.
//!
//! (manual to come)
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod baggage;
pub mod carrier;
pub mod config;
mod config_error;
pub mod decision;
pub mod destination;
pub mod dispatch;
pub mod explain;
pub mod key;
mod keys;
pub mod limits;
pub mod names;
pub mod plan;
pub mod reading;
pub mod reason;
pub mod table;
mod version;

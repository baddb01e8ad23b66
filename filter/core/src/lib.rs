//! What skycap decides for a request: the manual.
//!
//! # The model
//! A *sandbox* replaces some Services of a shared *baseline*, for the requests that carry its
//! *routing key*. Envoy picks a *destination* as if there were no sandbox; skycap then looks for
//! the key in the request's *carriers*, for the key's routes in the *table*, and for the route of
//! that destination. If there is one, its *target* takes the request.
//!
//! ```text
//! request ── carriers ──> key ──┐
//!                               ├── table ──> route ──> plan ──> Envoy
//! Envoy ─── cluster name ──> destination ──┘
//! ```
//!
//! [`decision::decide`] is all of it. It reads a request through the [`request::Request`] trait,
//! and [`decision::Decision::effect`] says what to do as a value; whoever holds the request does it.
//! The crate has no host, no clock, no I/O and no `unsafe`: the filter, `skycap compile` and
//! `skycap explain` run the same code, and so cannot disagree.
//!
//! # The laws
//! 1. No key, an unknown key, a destination that the key does not replace, the kill switch: the
//!    plan is empty, and the request goes on byte for byte as it came (but for law 4).
//! 2. Parsing is exact and bounded: see [`baggage`] and [`limits`].
//! 3. [`carrier`]s are tried in their order; the first that holds a well-formed key decides.
//! 4. The dispatch header belongs to the filter. One that came with the request is removed; it
//!    never routes anything, and never keeps the request from its sandbox. Since Envoy has picked
//!    the forged cluster by then, the virtual host's name stands in for the destination.
//! 5. A configuration is checked whole before any of it is used: [`config`] and [`table`] refuse
//!    it with the path of what is wrong, and the caller keeps the table it has.
//! 6. Cost does not depend on the number of sandboxes, and a request without a key pays least:
//!    one look-up by hash, and nothing is asked of the request that the answer does not need.
//!
//! # Where to read on
//! | to know | read |
//! |---|---|
//! | what a request gets, and why | [`decision`], [`reason`] |
//! | what travels from the controller to Envoy | [`config`] |
//! | what is done to the request | [`effect`], [`dispatch`] |
//! | what `x-skycap-decision` says | [`explain`] |
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod baggage;
pub mod carrier;
pub mod config;
mod config_error;
pub mod decision;
pub mod destination;
pub mod dispatch;
pub mod effect;
pub mod explain;
pub mod key;
mod keys;
pub mod limits;
pub mod names;
pub mod reading;
pub mod reason;
pub mod request;
mod serde_as_text;
pub mod table;
mod version;

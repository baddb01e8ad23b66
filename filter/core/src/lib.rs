//! The routing decision of skycap, and its manual.
//!
//! # Model
//! A *sandbox* replaces some Services of a shared *baseline* for the requests that carry the
//! sandbox's *routing key*. Envoy first selects a *destination*, as if there were no sandboxes.
//! skycap then searches the request's *carriers* (headers, cookies and so on) for a key, and the
//! *table* for a *route* of this key and destination. If there is such a route, the request goes
//! to the route's *target*, a Service of the sandbox. Otherwise it goes to the destination.
//!
//! ```text
//! request ── carriers ──> key ──┐
//!                               ├── table ──> route ──> effect ──> Envoy
//! Envoy ─── cluster name ──> destination ──┘
//! ```
//!
//! [`decision::decide`] makes the whole decision. It reads the request through the trait
//! [`request::Request`]. [`decision::Decision::effect`] returns the changes to the request as a
//! value, which the caller applies.
//!
//! This crate has no I/O, no clock, no Proxy-Wasm host and no `unsafe`. The filter, `skycap
//! compile` and `skycap explain` all run it, so they always agree.
//!
//! # Example
//! ```
//! use std::borrow::Cow;
//!
//! use skycap_core::{decision::decide, effect::HeaderEdit, request::Request, table::{Seed, Table}};
//!
//! /// A request for `cart.shop` on port 80, with this `baggage`.
//! struct Baggage(&'static str);
//!
//! impl Request for Baggage {
//!     fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
//!         (name == "baggage").then(|| self.0.as_bytes().into())
//!     }
//!
//!     fn has_header(&self, name: &str) -> bool {
//!         name == "baggage"
//!     }
//!
//!     fn cluster_name(&self) -> Option<Vec<u8>> {
//!         Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec())
//!     }
//!
//!     fn virtual_host_name(&self) -> Option<Vec<u8>> {
//!         Some(b"cart.shop.svc.cluster.local:80".to_vec())
//!     }
//! }
//!
//! let table = Table::from_json(
//!     br#"{"version": "1.0",
//!          "routes": [{"service": "cart.shop", "to": "cart-{key}"}],
//!          "keys": "pr-123:0"}"#,
//!     Seed::new([1, 2]), // random in production
//! )?;
//! let effect = decide(&table, &Baggage("userId=alice,sandbox=pr-123")).effect();
//! let cluster = "outbound|80||cart-pr-123.shop.svc.cluster.local".to_owned();
//! assert_eq!(effect.dispatch, Some(HeaderEdit::Set("x-skycap-cluster", cluster)));
//! # Ok::<_, skycap_core::config::ConfigError>(())
//! ```
//!
//! # Laws
//! Tests and other modules refer to these laws by number.
//!
//! 1. Without a sandbox, a request passes through unchanged, byte for byte, except for law 4. This
//!    applies if the request has no key, if the key is unknown, if the key does not replace the
//!    destination, and if routing is disabled (the kill switch). One addition: a carrier with
//!    `inject` adds a known key to `baggage` even if the key does not replace this destination,
//!    because it may replace a later one.
//! 2. Parsing is exact and bounded. See [`baggage`] and [`limits`].
//! 3. [`carrier`]s are tried in their configured order. The first one that contains a well-formed
//!    key decides.
//! 4. The dispatch header belongs to the filter. If a client sends it, it is removed. It never
//!    routes a request, and it never keeps a request from its sandbox. Envoy has already selected
//!    the forged cluster by then, so the destination is read from the name of the virtual host.
//!    At an [`edge`], a key from outside has no effect, at this hop or behind it, unless it is listed.
//!    This applies under the kill switch too: there, nothing but the keys is removed.
//! 5. A configuration is checked completely before any part of it is used. [`config`] and
//!    [`table`] reject an invalid one with an error that names the field. The caller then keeps
//!    its current table.
//! 6. The cost of a decision does not depend on the number of sandboxes. A request without a key
//!    costs least: nothing is read from the request that the decision does not need, and the table
//!    is not searched. With a key, the search is one lookup in a hash table.
//!
//! # Where to read on
//! | Question | Module |
//! |---|---|
//! | Where does a request go, and why? | [`decision`], [`reason`] |
//! | What does the controller send to Envoy? | [`config`] |
//! | Which keys from outside have an effect? | [`edge`] |
//! | What is changed in a request? | [`effect`], [`dispatch`] |
//! | What does `x-skycap-decision` contain? | [`explain`] |
#![forbid(unsafe_code)]
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod baggage;
pub mod carrier;
pub mod config;
mod config_error;
pub mod decision;
pub mod decision_header;
pub mod destination;
pub mod dispatch;
pub mod edge;
pub mod effect;
pub mod explain;
mod invalid_value;
pub mod key;
mod keys;
pub mod limits;
pub mod names;
pub mod reading;
pub mod reason;
pub mod request;
mod seed;
mod serde_as_text;
pub mod table;
mod version;

//! The splitter of a queue: it moves each message of a topic to the baseline or to a sandbox.
//!
//! ```text
//!                     ┌── orders.baseline ──> the baseline's consumer, group `cart`
//! orders ── splitter ─┤
//!                     └── orders.pr-123 ────> the fork's consumer, group `cart-pr-123`
//! ```
//!
//! # Exactness
//! One reader decides where a message goes, so it is in one place. A batch of messages and the offsets
//! up to which they were read are one Kafka transaction, so a crash neither loses nor repeats a message
//! for a consumer with `isolation.level=read_committed`. A message stays in its partition: one
//! splitter reads a partition at a time, so the order in it stays too. The offsets carry the
//! group's generation (KIP-447): a splitter that was stopped and wakes up cannot commit.
//!
//! # From the rules to a message
//! 1. [`rules_client`] gets the rules from the controller, and keeps the last ones.
//! 2. [`life`] says what is to be done with the topic of each sandbox: the first [`steward`] to own
//!    partition 0 does it. Pure.
//! 3. [`table`] says which topic a message goes to. Pure.
//! 4. [`mover`] moves what arrives, through the trait [`queue::Queue`]. [`kafka`] is behind it.
//!
//! # Imports
//! Imports point inward, from the last of these to the first: `settings`, `table`, `life`,
//! `queue`; `board`, `metrics`; `kafka`; `rules_client`, `steward`, `mover`; `telemetry`; `splitter`.
#![forbid(unsafe_code)]

pub mod board;
pub mod health;
pub mod kafka;
pub mod life;
pub mod metrics;
pub mod mover;
pub mod queue;
pub mod rules_client;
pub mod settings;
pub mod splitter;
pub mod steward;
pub mod table;
pub mod telemetry;

//! The splitter as a process, on real Kafka brokers.
#![allow(dead_code, reason = "the measurements use more of the shared files")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in a helper fails the test")]

mod chaos;
mod checker;
mod cluster;
mod eras;
mod exact;
mod load;
mod moments;
mod refusals;
mod rules_server;
mod shop;
mod splitter;

//! The splitter as a process, on real Kafka brokers.

mod chaos;
mod checker;
mod cluster;
mod exact;
mod load;
mod moments;
mod refusals;
mod rules_server;
mod splitter;

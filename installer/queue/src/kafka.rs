//! Kafka behind the splitter, through librdkafka.
//!
//! | module | what it does |
//! |---|---|
//! | [`connection`] | makes clients, with the properties that exactness needs |
//! | [`batch`], [`transaction`] | read messages, and forward them with their offsets |
//! | [`obstacles`], `refused` | messages that a topic refuses |
//! | [`gaps`] | whether the topic is written in transactions |
//! | [`topics`], [`groups`], [`records`] | what is in the cluster |
//! | [`observe`] | what [`life`](crate::life) has to know, and how its steps are done |
//! | [`end`] | the end of a sandbox's topic |
//! | [`admission`], [`adoption`], [`retirement`] | the beginning and the end of a splitter's own work |
//!
//! # Rebalances
//! The assignment is cooperative: a rebalance moves only the partitions that change their owner, and the
//! others go on. With the eager assignment, every splitter would stand still until the brokers have
//! noticed that a crashed one is gone, which takes 6 s. A rebalance happens only inside of `poll`, and so
//! never between the reading of a batch and its commit. What was read before it is read again.

pub mod admission;
pub mod adoption;
pub mod batch;
pub mod connection;
pub mod context;
pub mod end;
pub mod gaps;
pub mod groups;
pub mod observe;
pub mod obstacles;
pub mod records;
mod refused;
pub mod retirement;
pub mod topics;
pub mod transaction;

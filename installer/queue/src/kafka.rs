//! Kafka behind the splitter, through librdkafka.
//!
//! | module | what it does |
//! |---|---|
//! | [`connection`] | makes clients, with the properties that exactness needs |
//! | [`batch`], [`transaction`] | read messages, and forward them with their offsets |
//! | [`obstacles`] | messages that a topic refuses |
//! | [`topics`], [`groups`], [`records`] | what is in the cluster |
//! | [`observe`] | what [`life`](crate::life) has to know, and how its steps are done |
//! | [`end`] | the end of a sandbox's topic |
//! | [`admission`], [`adoption`], [`retirement`] | the beginning and the end of a splitter's own work |
//!
//! # Rebalances
//! The assignment is eager (`range`): a rebalance takes every partition away and gives new ones. Nothing
//! that was read before it is used after it, so no state of a partition can be wrong. A cooperative
//! assignment would keep the unmoved partitions running for the some hundred milliseconds that
//! a rebalance takes, and leave each batch with partitions of two generations.

pub mod admission;
pub mod adoption;
pub mod batch;
pub mod connection;
pub mod context;
pub mod end;
pub mod groups;
pub mod observe;
pub mod obstacles;
pub mod records;
pub mod retirement;
pub mod topics;
pub mod transaction;

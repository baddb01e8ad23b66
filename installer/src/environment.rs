//! The life of an environment: what a sandbox adds to a namespace, as a value.
//!
//! 1. [`spec`] reads the sandbox file and its variables.
//! 2. [`baseline`] is what the namespace has: workloads, and everything that selects Pods.
//! 3. [`fork`] makes the fork of one workload, [`resource`] what a sandbox has besides, such as a
//!    database, and [`sandbox`] all of it and the ConfigMap.
//!
//! All of it is pure: the same file and the same namespace give the same bytes, whether they come from a
//! cluster or from files. What the user's command then writes and waits for is in
//! [`commands::up`](crate::commands::up).

mod affinity;
pub mod baseline;
pub mod comment;
pub mod env;
pub mod fork;
mod hosts;
mod identity;
pub mod invalid_fork;
pub mod labels;
mod patch;
pub mod plan;
pub mod queues;
pub mod resource;
pub mod rights;
pub mod sandbox;
pub mod selector;
mod service;
pub mod spec;
pub mod summary;
mod template;
mod variables;
pub mod workload;

//! The library of the command `skycap`: how ConfigMaps become a routing table, and how the table
//! comes into the mesh.
//!
//! One ConfigMap's way from kubectl to the table:
//! 1. it comes from a file ([`table::manifests`]) or from a watch ([`controller`]);
//! 2. [`table`] parses it and compiles it with all others into the type that the filter itself
//!    reads, and a report;
//! 3. [`desired`] turns the table into the objects of each mesh, and compares them with what is
//!    there: a plan;
//! 4. [`observed`] reads the cluster and executes the plan.
//!
//! [`module`] brings the filter's module into the mesh, [`diagnose`] answers questions, [`commands`]
//! has what people type. Imports point up this list only: [`table`] and [`desired`] are pure, so the
//! same input and the same time give the same bytes.
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod controller;
pub mod desired;
pub mod diagnose;
pub mod module;
pub mod names;
pub mod objects;
pub mod observed;
pub mod problem;
pub mod table;

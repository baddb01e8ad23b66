//! The library behind the command `skycap`: it compiles ConfigMaps into a routing table and brings the
//! table into a service mesh.
//!
//! # From a ConfigMap to the mesh
//!
//! 1. A ConfigMap is read from a file ([`table::manifests`]) or comes from a watch ([`controller`]).
//! 2. [`table`] parses it, and compiles all of them into the table type that the filter itself reads
//!    and into a report.
//! 3. [`desired`] turns the table into the objects of each mesh. It compares them with the objects
//!    that exist: the difference is a plan.
//! 4. [`observed`] reads the cluster and executes the plan.
//!
//! Beside that path, [`module`] publishes and rolls out the filter's module, [`diagnose`] explains and
//! checks, [`environment`] forks the workloads of a sandbox, [`forward`] is the way from this machine to its
//! Services, [`ci`] tells a pull request about it, [`controller`] keeps the mesh up to date, and [`commands`]
//! has the subcommands.
//!
//! # Imports
//!
//! Imports point inward, from the last of these to the first: `names`, `objects`,
//! `problem`, `serve` and `telemetry`; `table`; `desired`; `environment`; `observed`; `module`; `diagnose`; `forward`; `ci`; `controller`;
//! `commands`; `cli`. `table`, `desired` and `environment` are pure: the same input and the same time give the
//! same bytes.
//!
//! # Example
//!
//! ```
//! use jiff::Timestamp;
//! use skycap::table::{compile::compile, input::Input, manifests::Manifests};
//!
//! let mut manifests = Manifests::default();
//! manifests.add(
//!     "kind: ConfigMap\n\
//!      metadata: {name: pr-1, namespace: shop, labels: {skycap.dev/kind: sandbox}}\n\
//!      data: {routes: 'cart: cart-pr-1'}",
//!     "example.yaml",
//! );
//! let now = Timestamp::now();
//! let compilation = compile(&Input::new(&manifests, now), now);
//! assert!(!compilation.report.refuses());
//! assert_eq!(compilation.config.map(|config| config.keys.len()), Some(1));
//! ```
#![forbid(unsafe_code)]

pub mod ci;
pub mod cli;
pub mod commands;
pub mod controller;
pub mod desired;
pub mod diagnose;
pub mod environment;
pub mod forward;
pub mod module;
pub mod names;
pub mod objects;
pub mod observed;
pub mod problem;
pub mod serve;
pub mod table;
pub mod telemetry;

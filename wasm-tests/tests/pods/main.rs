//! A real cluster: Pods, injected sidecars, mTLS, and skycap installed from its image. Each test runs on
//! a machine of its own.

mod clients;
mod environments;
mod fallback;
mod install;
mod machine;
mod playground;
mod resources;
mod tenancy;
mod test_command;

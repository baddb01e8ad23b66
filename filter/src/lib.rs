//! The Proxy-Wasm filter: it carries a request's view into `skycap-core` and its plan out to Envoy.
//!
//! One request's way: Envoy enters [`proxy_on_request_headers`], [`http`] shows the request to
//! `skycap_core::decision::decide` through [`host`], and applies the plan that comes back.
//! One table's way: Envoy enters [`proxy_on_configure`], and [`root`] takes it or refuses it.
//!
//! # Why not the Rust SDK
//! `proxy-wasm` panics on every status that it does not expect, which costs a worker its filter,
//! and exports every callback of the ABI, each of which Envoy enters for every request. So this
//! crate speaks ABI 0.2.1 itself
//! (<https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>): here are the doors, in
//! [`host`] the calls, and nothing else is unsafe.
//!
//! A module has one thread and Envoy never enters it twice at once, but for
//! [`proxy_on_memory_allocate`], which touches no state: so the `RefCell`s here cannot be found
//! borrowed.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

#[expect(unsafe_code, reason = "the one room that speaks to the host")]
mod host;
mod http;
mod metrics;
mod root;

use std::cell::RefCell;

use root::Root;

thread_local! {
    static ROOT: RefCell<Root> = const { RefCell::new(Root::new()) };
}

/// Says which ABI this is; Envoy looks at the name only.
#[expect(unsafe_code, reason = "an export of the ABI, by a name that is its own")]
#[unsafe(no_mangle)]
pub const extern "C" fn proxy_abi_version_0_2_1() {}

/// Gives Envoy room for what a host call returns; [`host`] takes it back.
#[expect(unsafe_code, reason = "an export of the ABI, by a name that is its own")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    host::allocate(size)
}

/// A new table: `true` takes it, `false` lets the old one serve on.
#[expect(unsafe_code, reason = "an export of the ABI, by a name that is its own")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_root: u32, size: usize) -> bool {
    ROOT.with_borrow_mut(|root| root.configure(size))
}

/// Once a second: counters go from the module's memory to Envoy.
#[expect(unsafe_code, reason = "an export of the ABI, by a name that is its own")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(_root: u32) {
    ROOT.with_borrow_mut(Root::tick);
}

/// A request: 0 lets it go on, 1 means that it has been answered.
#[expect(unsafe_code, reason = "an export of the ABI, by a name that is its own")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(stream: u32, _headers: u32, _end: u32) -> u32 {
    ROOT.with_borrow_mut(|root| http::on_request(root, stream))
}

/// A response: it gets its decision header, where the request asked for one.
#[expect(unsafe_code, reason = "an export of the ABI, by a name that is its own")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(stream: u32, _headers: u32, _end: u32) -> u32 {
    ROOT.with_borrow_mut(|root| http::on_response(root, stream))
}

//! The Proxy-Wasm filter: it shows each request to `skycap-core` and applies the effect in Envoy.
//!
//! Envoy calls [`proxy_on_request_headers`] for each request. `http` then passes the request,
//! read through `host`, to `skycap_core::decision::decide`, and applies the effect of the
//! decision. Envoy calls [`proxy_on_configure`] for each new routing table, and `root` accepts or
//! rejects the table.
//!
//! # Why not the Rust SDK
//! `proxy-wasm` panics on every status that it does not expect, and a panic disables the filter in
//! that worker. It also exports every callback of the ABI, and Envoy calls each exported callback
//! for every request. Therefore this crate implements ABI 0.2.1 itself
//! (<https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>). This file contains the
//! exported callbacks, and `host` contains the host calls. Only these two use `unsafe`.
//!
//! A Wasm module has one thread. While a callback runs, Envoy calls no other callback except
//! [`proxy_on_memory_allocate`], which does not use the state. Therefore borrowing the `RefCell`
//! below never fails.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

#[expect(unsafe_code, reason = "the only module that calls the host")]
mod host;
mod http;
mod metrics;
mod root;

use std::cell::RefCell;

use root::Root;

thread_local! {
    static ROOT: RefCell<Root> = const { RefCell::new(Root::new()) };
}

/// Declares the ABI version. Envoy checks only that the export exists.
#[expect(unsafe_code, reason = "an exported function of the ABI needs its exact name")]
#[unsafe(no_mangle)]
pub const extern "C" fn proxy_abi_version_0_2_1() {}

/// Allocates memory for the bytes that a host call returns; `host` takes ownership of it.
#[expect(unsafe_code, reason = "an exported function of the ABI needs its exact name")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    host::allocate(size)
}

/// Reads a new table. Returns `true` to accept it, and `false` to reject it.
#[expect(unsafe_code, reason = "an exported function of the ABI needs its exact name")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_root: u32, size: usize) -> bool {
    ROOT.with_borrow_mut(|root| root.configure(size))
}

/// Writes the counters to Envoy. Envoy calls this once a second.
#[expect(unsafe_code, reason = "an exported function of the ABI needs its exact name")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(_root: u32) {
    ROOT.with_borrow_mut(Root::tick);
}

/// Decides a request. Returns 0 to continue, and 1 if the filter has sent a response itself.
#[expect(unsafe_code, reason = "an exported function of the ABI needs its exact name")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(stream: u32, _headers: u32, _end: u32) -> u32 {
    ROOT.with_borrow_mut(|root| http::on_request(root, stream))
}

/// Adds the decision header to a response, if the request asked for it. Returns 0 to continue.
#[expect(unsafe_code, reason = "an exported function of the ABI needs its exact name")]
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(stream: u32, _headers: u32, _end: u32) -> u32 {
    ROOT.with_borrow_mut(|root| http::on_response(root, stream))
}

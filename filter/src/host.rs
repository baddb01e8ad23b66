//! The host calls of Proxy-Wasm ABI 0.2.1 that skycap makes, as safe functions.
//!
//! This module contains all `unsafe` calls of the filter. No function panics, whatever status the
//! host returns: a read that fails returns `None`, and a write that fails returns `false`.

mod abi;

use core::ptr;
use std::alloc::{Layout, alloc};

use abi::{NO_GRPC_STATUS, OK, PLUGIN_CONFIGURATION};

/// The header maps that skycap reads and edits (ABI `proxy_map_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Headers {
    Request = 0,
    Response = 2,
}

/// The levels of the host's log (ABI `proxy_log_level_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum LogLevel {
    Debug = 1,
    Info = 2,
    Error = 4,
}

/// The kinds of metrics that skycap defines (ABI `proxy_metric_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// The id of a metric that the host keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric(u32);

/// Returns the first line of a header. With this call, Envoy never returns the others.
pub(crate) fn first_line(headers: Headers, name: &str) -> Option<Vec<u8>> {
    read(|data, size| unsafe {
        // SAFETY: name is borrowed during the call; data and size are owned by this module.
        abi::proxy_get_header_map_value(headers as u32, name.as_ptr(), name.len(), data, size)
    })
}

/// Returns all lines of all headers, in the ABI's format for maps.
///
/// The format is: the number of pairs, the lengths of each name and value, then the names and
/// values, each followed by a NUL byte. Numbers are 32-bit little-endian.
pub(crate) fn all_headers(headers: Headers) -> Option<Vec<u8>> {
    read(|data, size| unsafe {
        // SAFETY: data and size are owned by this module.
        abi::proxy_get_header_map_pairs(headers as u32, data, size)
    })
}

/// Replaces all lines of a header with one line.
pub(crate) fn set_header(headers: Headers, name: &str, value: &[u8]) -> bool {
    // SAFETY: name and value are borrowed during the call, and the host copies them.
    OK == unsafe {
        let (value, size) = (value.as_ptr(), value.len());
        abi::proxy_replace_header_map_value(headers as u32, name.as_ptr(), name.len(), value, size)
    }
}

/// Adds one line to a header and keeps the existing lines.
pub(crate) fn add_header(headers: Headers, name: &str, value: &[u8]) -> bool {
    // SAFETY: name and value are borrowed during the call, and the host copies them.
    OK == unsafe {
        let (value, size) = (value.as_ptr(), value.len());
        abi::proxy_add_header_map_value(headers as u32, name.as_ptr(), name.len(), value, size)
    }
}

/// Removes all lines of a header.
pub(crate) fn remove_header(headers: Headers, name: &str) -> bool {
    // SAFETY: name is borrowed during the call.
    OK == unsafe { abi::proxy_remove_header_map_value(headers as u32, name.as_ptr(), name.len()) }
}

/// Returns an Envoy attribute. The parts of `path` are separated by NUL bytes.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    read(|data, size| unsafe {
        // SAFETY: path is borrowed during the call; data and size are owned by this module.
        abi::proxy_get_property(path.as_ptr(), path.len(), data, size)
    })
}

/// Sets an attribute of the current stream. Envoy keeps it as the filter state `wasm.NAME`, which
/// other filters can match, and no client can set.
pub(crate) fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: name and value are borrowed during the call, and the host copies them.
    OK == unsafe { abi::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

/// Returns the first `size` bytes of `pluginConfig`.
pub(crate) fn plugin_configuration(size: usize) -> Option<Vec<u8>> {
    read(|data, returned| unsafe {
        // SAFETY: data and returned are owned by this module.
        abi::proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, returned)
    })
}

/// Sends a response to the client. `headers` is in the ABI's format for maps.
pub(crate) fn respond(status: u16, headers: &[u8], body: &str) -> bool {
    // SAFETY: all arguments are borrowed during the call, and the host copies them.
    OK == unsafe {
        let no_details = ptr::null();
        abi::proxy_send_local_response(
            u32::from(status),
            no_details,
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    }
}

/// Writes a line to the host's log.
///
/// The status is ignored: if the log fails, there is no other place to report it.
pub(crate) fn log(level: LogLevel, line: &str) {
    // SAFETY: line is borrowed during the call.
    unsafe { abi::proxy_log(level as u32, line.as_ptr(), line.len()) };
}

/// Returns whether the host writes lines of level debug to its log.
pub(crate) fn logs_debug() -> bool {
    let mut level = LogLevel::Info as u32;
    // SAFETY: level is owned by this module.
    OK == unsafe { abi::proxy_get_log_level(&raw mut level) } && level <= LogLevel::Debug as u32
}

/// Returns the nanoseconds since 1970, or zero if the host has no clock.
pub(crate) fn now() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: nanoseconds is owned by this module.
    unsafe { abi::proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    nanoseconds
}

/// Returns 16 random bytes. A host without random bytes gives its clock, which nobody outside the
/// proxy knows to the nanosecond.
pub(crate) fn random() -> [u64; 2] {
    let mut bytes = [0_u64; 2];
    let size = size_of_val(&bytes);
    // SAFETY: bytes is owned by this module, and every pattern of bits is a valid u64.
    match unsafe { abi::random_get(bytes.as_mut_ptr().cast(), size) } {
        0 => bytes,
        _ => [now(), size as u64],
    }
}

/// Requests a call of `proxy_on_tick` every `milliseconds`.
///
/// The status is ignored: without ticks the counters in Envoy stop, but requests are not affected.
pub(crate) fn tick_every(milliseconds: u32) {
    // SAFETY: the argument is a number.
    unsafe { abi::proxy_set_tick_period_milliseconds(milliseconds) };
}

/// Defines a metric, or returns the existing metric of this name.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Option<Metric> {
    let mut id = 0;
    // SAFETY: name is borrowed during the call; id is owned by this module.
    let status =
        unsafe { abi::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(Metric(id))
}

impl Metric {
    /// Adds to a counter.
    pub(crate) fn increment(self, by: u64) {
        // SAFETY: the arguments are numbers.
        unsafe { abi::proxy_increment_metric(self.0, by.cast_signed()) };
    }

    /// Sets a gauge.
    pub(crate) fn record(self, value: u64) {
        // SAFETY: the arguments are numbers.
        unsafe { abi::proxy_record_metric(self.0, value) };
    }
}

/// Returns whether a value is stored under `key` in the data that all VMs of this process share.
pub(crate) fn is_shared(key: &str) -> bool {
    let mut version = 0;
    read(|data, size| unsafe {
        // SAFETY: key is borrowed during the call; the other arguments are owned by this module.
        abi::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
    })
    .is_some()
}

/// Stores `value` under `key` in the data that all VMs of this process share.
pub(crate) fn share(key: &str, value: &[u8]) {
    let any_version = 0;
    // SAFETY: key and value are borrowed during the call, and the host copies them.
    unsafe {
        let (value, size) = (value.as_ptr(), value.len());
        abi::proxy_set_shared_data(key.as_ptr(), key.len(), value, size, any_version)
    };
}

/// Allocates `size` bytes for the host to write to; [`read`] takes ownership of them.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the size of the layout is not zero.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => ptr::null_mut(),
    }
}

/// Makes a call that returns bytes, and takes ownership of those bytes.
fn read(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = ptr::null_mut();
    let mut size = 0;
    if call(&raw mut data, &raw mut size) != OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the host got data from `allocate` with exactly this size (ABI, "memory management"),
    // wrote all of it, and does not use it again.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

//! The host calls of Proxy-Wasm ABI 0.2.1 that skycap makes: all of its `unsafe` is here.
//!
//! Whatever status the host gives, nothing here panics: a read that fails is `None`, a write that
//! fails is a `false` that the caller may look at.

use core::ptr;
use std::alloc::{Layout, alloc};

/// The maps of headers that skycap touches (ABI `proxy_map_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Headers {
    Request = 0,
    Response = 2,
}

/// Levels of the host's log (ABI `proxy_log_level_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum LogLevel {
    Debug = 1,
    Info = 2,
    Error = 4,
}

/// Kinds of metrics (ABI `proxy_metric_type_t`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// A metric that the host keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric(u32);

/// The first line of a header. Envoy gives no other by this call.
pub(crate) fn first_line(headers: Headers, name: &str) -> Option<Vec<u8>> {
    returned(|data, size| unsafe {
        // SAFETY: name is borrowed over the call, data and size are this module's to write.
        proxy_get_header_map_value(headers as u32, name.as_ptr(), name.len(), data, size)
    })
}

/// All lines of all headers: counts and lengths first, then the bytes, each closed by a NUL.
pub(crate) fn all_headers(headers: Headers) -> Option<Vec<u8>> {
    returned(|data, size| unsafe {
        // SAFETY: data and size are this module's to write.
        proxy_get_header_map_pairs(headers as u32, data, size)
    })
}

/// Leaves one line of a header, with this value.
pub(crate) fn set_header(headers: Headers, name: &str, value: &[u8]) -> bool {
    // SAFETY: name and value are borrowed over the call, and the host copies them.
    OK == unsafe {
        let (value, size) = (value.as_ptr(), value.len());
        proxy_replace_header_map_value(headers as u32, name.as_ptr(), name.len(), value, size)
    }
}

/// Adds a line to a header.
pub(crate) fn add_header(headers: Headers, name: &str, value: &[u8]) -> bool {
    // SAFETY: name and value are borrowed over the call, and the host copies them.
    OK == unsafe {
        let (value, size) = (value.as_ptr(), value.len());
        proxy_add_header_map_value(headers as u32, name.as_ptr(), name.len(), value, size)
    }
}

/// Removes all lines of a header.
pub(crate) fn remove_header(headers: Headers, name: &str) -> bool {
    // SAFETY: name is borrowed over the call.
    OK == unsafe { proxy_remove_header_map_value(headers as u32, name.as_ptr(), name.len()) }
}

/// An attribute of Envoy's; the parts of `path` are divided by NUL.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    returned(|data, size| unsafe {
        // SAFETY: path is borrowed over the call, data and size are this module's to write.
        proxy_get_property(path.as_ptr(), path.len(), data, size)
    })
}

/// The first `size` bytes of `pluginConfig`.
pub(crate) fn plugin_configuration(size: usize) -> Option<Vec<u8>> {
    returned(|data, returned| unsafe {
        // SAFETY: data and returned are this module's to write.
        proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, returned)
    })
}

/// Answers the request: `headers` as the ABI serialises a map.
pub(crate) fn respond(status: u16, headers: &[u8], body: &str) -> bool {
    // SAFETY: all of it is borrowed over the call, and the host copies it.
    OK == unsafe {
        let no_details = ptr::null();
        proxy_send_local_response(
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
pub(crate) fn log(level: LogLevel, line: &str) {
    // SAFETY: line is borrowed over the call. A log that fails has nobody to tell.
    unsafe { proxy_log(level as u32, line.as_ptr(), line.len()) };
}

/// Whether the host's log takes lines of debug.
pub(crate) fn logs_debug() -> bool {
    let mut level = LogLevel::Info as u32;
    // SAFETY: level is this module's to write.
    OK == unsafe { proxy_get_log_level(&raw mut level) } && level <= LogLevel::Debug as u32
}

/// Nanoseconds since 1970; zero where the host has no clock.
pub(crate) fn now() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: nanoseconds is this module's to write.
    unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    nanoseconds
}

/// Asks for `proxy_on_tick` every so many milliseconds.
pub(crate) fn tick_every(milliseconds: u32) {
    // SAFETY: it takes a number. Without ticks the counters stand still, and requests go on.
    unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// A metric of this name, new or as it was.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Option<Metric> {
    let mut id = 0;
    // SAFETY: name is borrowed over the call, id is this module's to write.
    let status =
        unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(Metric(id))
}

impl Metric {
    /// Adds to a counter.
    pub(crate) fn increment(self, by: u64) {
        // SAFETY: it takes numbers.
        unsafe { proxy_increment_metric(self.0, by.cast_signed()) };
    }

    /// Sets a gauge.
    pub(crate) fn record(self, value: u64) {
        // SAFETY: it takes numbers.
        unsafe { proxy_record_metric(self.0, value) };
    }
}

/// Whether all VMs of this process together hold something under `key`.
pub(crate) fn is_shared(key: &str) -> bool {
    let mut version = 0;
    returned(|data, size| unsafe {
        // SAFETY: key is borrowed over the call, the others are this module's to write.
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
    })
    .is_some()
}

/// Holds `value` under `key` for all VMs of this process.
pub(crate) fn share(key: &str, value: &[u8]) {
    let any_version = 0;
    // SAFETY: key and value are borrowed over the call, and the host copies them.
    unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), any_version)
    };
}

/// Room for `size` bytes that the host is about to write.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the layout is not of size zero.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => ptr::null_mut(),
    }
}

/// Makes a call that returns bytes, and takes them over.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = ptr::null_mut();
    let mut size = 0;
    if call(&raw mut data, &raw mut size) != OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the host got data from `allocate` with this very size (ABI, "memory management"),
    // wrote all of it, and keeps no claim to it.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

const OK: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;
const NO_GRPC_STATUS: i32 = -1;

// ABI 0.2.1, section "Functions implemented in the host environment". Statuses are numbers and no
// enum, for a host may have more of them than this list has.
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        offset: usize,
        size: usize,
        data: *mut *mut u8,
        returned: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

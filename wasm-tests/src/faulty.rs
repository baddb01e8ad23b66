//! Modules that a rollout must reject: each one runs and counts as the filter does, with one fault.

use anyhow::Context as _;

/// What is wrong with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It rejects every table.
    RefusesTable,
    /// It traps at the thirtieth request.
    Traps,
    /// It takes some milliseconds for each request.
    IsSlow,
    /// It finds a key in no request.
    RoutesNothing,
    /// It finds another key in each request.
    RoutesWrong,
}

/// A module with this fault. `plugin` is the label of its counters.
///
/// # Errors
/// None in practice: the text is fixed.
pub fn module(fault: Fault, plugin: &str) -> anyhow::Result<Vec<u8>> {
    let (accepted, request) = match fault {
        Fault::RefusesTable => (0, ""),
        Fault::Traps => {
            (1, "(if (i32.eq (global.get $requests) (i32.const 30)) (then unreachable))")
        }
        Fault::IsSlow => (1, SLOW),
        Fault::RoutesNothing | Fault::RoutesWrong => (1, ""),
    };
    let outcome = if fault == Fault::RoutesWrong { "unknown_key" } else { "no_key" };
    let (data, define) = counters(plugin, outcome);
    let text = format!(
        r#"(module
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (global $ticked (mut i32) (i32.const 0))
  (global $requests (mut i32) (i32.const 0))
  {data}
  (func $count (param $id i32) (param $by i64)
    (drop (call $increment (i32.load (local.get $id)) (local.get $by))))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (global.get $heap))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    {define}
    (drop (call $tick (i32.const 1000)))
    (i32.const {accepted}))
  (func (export "proxy_on_tick") (param i32)
    (if (i32.eqz (global.get $ticked)) (then (global.set $ticked (i32.const 1)) (call $count (i32.const 512) (i64.const 1))))
    (call $count (i32.const 516) (i64.const 1000)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $n i32)
    (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
    {request}
    (call $count (i32.const 520) (i64.const 1))
    (i32.const 0)))"#
    );
    wat::parse_str(&text).with_context(|| format!("cannot assemble the module for {fault:?}"))
}

/// The names of the counters as data, 128 bytes apart, and the calls that define them. Their ids are
/// written from byte 512 on.
fn counters(plugin: &str, outcome: &str) -> (String, String) {
    let labelled = |name: &str| format!("{name}.plugin=.={plugin};.;");
    let names = [
        labelled("skycap_vms_total"),
        labelled("skycap_vm_milliseconds_total"),
        format!("skycap_requests_total.outcome=.={outcome};.;"),
    ];
    let (mut data, mut define) = (Vec::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        let (place, size, id) = (index * 128, name.len(), 512 + index * 4);
        data.push(format!("(data (i32.const {place}) \"{name}\")"));
        define.push(format!(
            "(drop (call $define (i32.const 0) (i32.const {place}) (i32.const {size}) (i32.const {id})))"
        ));
    }
    (data.join("\n  "), define.join("\n    "))
}

/// The same module with another digest: it has a section that no reader uses.
#[must_use]
pub fn renamed(module: &[u8]) -> Vec<u8> {
    // A custom section (0) of five bytes: the length of its name, and the name.
    [module, b"\x00\x05\x04next"].concat()
}

const SLOW: &str = "(local.set $n (i32.const 20000000))
    (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";

//! The limits of the data plane: the unit of each, and what happens beyond it.

/// Maximum bytes of a routing key. A longer value is not a routing key.
///
/// 64 bytes hold a DNS label, which has at most 63, and are few enough to keep keys on the stack.
pub const KEY_BYTES: usize = 64;

/// Maximum bytes of all `baggage` lines joined by `,`. Beyond it, the carrier is treated as absent.
///
/// W3C Baggage section 3.3.2: every platform must propagate this many bytes.
pub const BAGGAGE_BYTES: usize = 8_192;

/// Maximum list members in `baggage` after an injection. Beyond it, the key is not injected.
///
/// W3C Baggage section 3.3.2: a platform may drop members beyond 64, including the injected one.
pub const BAGGAGE_MEMBERS: usize = 64;

/// Maximum bytes of all `tracestate` lines joined by `,`. Beyond it, the carrier is treated as
/// absent.
///
/// Trace Context section 3.3.1.5 requires at least 512. This is the limit of baggage instead.
pub const TRACESTATE_BYTES: usize = 8_192;

/// Maximum carriers in a configuration. Beyond it, the configuration is rejected, because the
/// filter searches every carrier in every request without a key.
pub const CARRIERS: usize = 16;

/// Maximum decisions that are kept until their response arrives. Beyond it, the oldest is removed.
pub const PENDING_DECISIONS: usize = 64;

//! Every bound of the data plane, with its unit and what happens on the other side of it.

/// Bytes of a routing key. A longer value is no routing key.
///
/// Long enough for a DNS label with a prefix, short enough to live on the stack.
pub const KEY_BYTES: usize = 64;

/// Bytes of all `baggage` lines joined by `,`. With one byte more the carrier counts as absent.
///
/// W3C Baggage section 3.3.2: what every platform must propagate.
pub const BAGGAGE_BYTES: usize = 8_192;

/// List members that an injection may leave in `baggage`. With one more the key is not injected.
///
/// W3C Baggage section 3.3.2: beyond 64 members a platform may drop some, and it could be ours.
pub const BAGGAGE_MEMBERS: usize = 64;

/// Bytes of all `tracestate` lines joined by `,`. With one byte more the carrier counts as absent.
///
/// Trace Context section 3.3.1.5 asks for 512 at least; this is the bound of baggage.
pub const TRACESTATE_BYTES: usize = 8_192;

/// Carriers of a table. A configuration with more is refused: each costs every request a look.
pub const CARRIERS: usize = 16;

/// Decisions that wait for their response headers. With one more, the oldest is forgotten.
pub const PENDING_DECISIONS: usize = 64;

//! `ttl` and `expires`: how long a fragment routes.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, Unit};

use crate::problem::InvalidValue;

/// When a fragment with this `ttl` (`72h`, `7d`, `1h30m`; at least one second) expires.
///
/// The time counts from `created`. A manifest that was never applied has no creation time, so its
/// `ttl` counts from `now`.
pub(crate) fn after(
    ttl: &str,
    created: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, InvalidValue> {
    let expires = created.unwrap_or(now).checked_add(duration_of(ttl)?);
    expires.map_err(|_| invalid(ttl))
}

/// The duration that `ttl` names: at least one second.
pub(crate) fn duration_of(ttl: &str) -> Result<SignedDuration, InvalidValue> {
    duration(ttl).ok_or_else(|| invalid(ttl))
}

/// The time that `expires` names.
pub(crate) fn at(expires: &str) -> Result<Timestamp, InvalidValue> {
    expires.parse().map_err(|_| {
        InvalidValue::new("value", expires, "an RFC 3339 time such as `2026-12-24T18:00:00Z`")
    })
}

/// When what expires at this time is deleted: `deleteExpired` later. `None` for never.
pub(crate) fn deletion(expires: Option<Timestamp>, grace: SignedDuration) -> Option<Timestamp> {
    expires?.checked_add(grace).ok()
}

fn invalid(ttl: &str) -> InvalidValue {
    InvalidValue::new("value", ttl, "a duration such as `72h`, `7d` or `1h30m`")
}

fn duration(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).ok()?;
    (seconds >= 1.0).then(|| SignedDuration::try_from_secs_f64(seconds).ok())?
}

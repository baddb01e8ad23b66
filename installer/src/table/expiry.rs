//! `ttl` and `expires`: until when a fragment routes.

use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

/// The time from `created` on that `ttl` grants, such as `72h`, `7d` or `1h30m`.
///
/// A manifest that was never applied has no creation time: its `ttl` counts from `now`.
pub(crate) fn after(
    ttl: &str,
    created: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let expected =
        || format!("`{ttl}` is no time to live, expected one such as `72h`, `7d` or `1h30m`");
    let span: Span = ttl.parse().map_err(|_| expected())?;
    let seconds =
        span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).map_err(|_| expected())?;
    if seconds < 1.0 {
        return Err(expected());
    }
    let duration = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|_| expected())?;
    created.unwrap_or(now).checked_add(duration).map_err(|_| expected())
}

/// The time that `expires` names.
pub(crate) fn at(expires: &str) -> Result<Timestamp, String> {
    expires.parse().map_err(|_| {
        format!("`{expires}` is no time of RFC 3339, expected one such as `2026-12-24T18:00:00Z`")
    })
}

//! Durations on the command line.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};

/// Reads a duration with units, in the form of a fragment's `ttl`: `25s`, `5m`, `1h30m`. A number
/// without a unit is in seconds.
///
/// # Errors
/// [`InvalidDuration`]; a negative duration is invalid too.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.into());
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| invalid());
    }
    let span: Span = text.parse().map_err(|_| invalid())?;
    let seconds =
        span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).map_err(|_| invalid())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

/// A text that is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("invalid duration `{0}`: expected a number with a unit, such as `25s`, `5m` or `1h30m`")]
pub(crate) struct InvalidDuration(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_a_ttl_and_seconds_need_none() {
        let cases = [
            ("0", Some(0)),
            ("25", Some(25)),
            ("25s", Some(25)),
            ("5m", Some(300)),
            ("1h30m", Some(5_400)),
            ("2d", Some(172_800)),
            ("", None),
            ("-5", None),
            ("-5s", None),
            ("5 apples", None),
            ("99999999999999999999", None),
        ];
        for (text, seconds) in cases {
            let parsed = parse_duration(text).ok();
            assert_eq!(parsed, seconds.map(Duration::from_secs), "`{text}`");
        }
    }
}

//! The headers that are about one connection, and do not pass a proxy (RFC 9110, section 7.6.1).

use hyper::{
    HeaderMap,
    header::{CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE},
};

/// The protocol that a message wants to change to; `None` for none, and for HTTP/2: inside it, requests
/// would pass without the key.
pub(super) fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let wants = options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| wants)?;
    let is_http2 = |name: &str| name.trim().eq_ignore_ascii_case("h2c");
    let is_other = !protocol.to_str().ok()?.split(',').any(is_http2);
    is_other.then(|| protocol.clone())
}

/// Removes the headers of one connection: those of the standard, and those that `Connection` names.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = options(headers).filter_map(|name| name.parse().ok()).collect();
    let standard = [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];
    for name in named.into_iter().chain(standard) {
        headers.remove(name);
    }
}

/// Asks for a change to `protocol`, or grants it.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The options of `Connection`.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn an_upgrade_passes_unless_requests_would_escape_in_it() {
        for (lines, expected) in [
            (
                &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")][..],
                Some("websocket"),
            ),
            (&[("connection", "upgrade"), ("upgrade", "tcp")], Some("tcp")),
            (&[("upgrade", "websocket")], None),
            (&[("connection", "upgrade")], None),
            (&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")], None),
            (&[("connection", "upgrade"), ("upgrade", "websocket, H2C")], None),
        ] {
            let found = upgrade_of(&headers(lines));
            assert_eq!(
                found.as_ref().map(HeaderValue::as_bytes),
                expected.map(str::as_bytes),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn what_is_about_one_connection_does_not_pass() {
        let mut found = headers(&[
            ("connection", "close, x-own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("cookie", "a=1"),
        ]);
        remove_hop_by_hop(&mut found);
        assert_eq!(found, headers(&[("te", "trailers"), ("cookie", "a=1")]));
    }
}

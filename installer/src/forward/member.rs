//! The member of baggage that carries a sandbox's key.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use skycap_core::{
    baggage,
    carrier::{Carrier, Source},
    key::RoutingKey,
    limits::{BAGGAGE_BYTES, BAGGAGE_MEMBERS},
};

/// A member of baggage with a key, such as `sandbox=pr-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    name: String,
    key: RoutingKey,
}

impl Member {
    /// The member of `key` by the carriers of the settings: the first that is baggage.
    ///
    /// # Errors
    /// [`NoBaggage`]: none of them is.
    pub fn new(carriers: &[Carrier], key: RoutingKey) -> Result<Self, NoBaggage> {
        Ok(Self { name: Self::name(carriers).ok_or(NoBaggage)?.to_owned(), key })
    }

    /// The name of the member by the carriers of the settings; `None` if none of them is baggage.
    #[must_use]
    pub fn name(carriers: &[Carrier]) -> Option<&str> {
        carriers.iter().find_map(|carrier| match &carrier.source {
            Source::Baggage(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &RoutingKey {
        &self.key
    }

    /// `list` with this member at its start, in the place of all members of its name. Other members
    /// stay as they are, byte for byte.
    ///
    /// # Errors
    /// The list would be longer than the filter reads.
    pub fn insert(&self, list: &[u8]) -> Result<Vec<u8>, TooLong> {
        baggage::insert(list, &self.name, &self.key).ok_or(TooLong)
    }

    /// Inserts the member into the `baggage` of a request. Several lines become one, as HTTP allows
    /// (RFC 9110, section 5.3).
    ///
    /// # Errors
    /// The baggage would be longer than the filter reads.
    pub fn tag(&self, headers: &mut HeaderMap) -> Result<(), TooLong> {
        let lines: Vec<_> = headers.get_all(BAGGAGE).iter().map(HeaderValue::as_bytes).collect();
        let list = self.insert(&lines.join(&b','))?;
        // A list of values of headers, with a member of visible characters, is one too.
        let value = HeaderValue::from_bytes(&list).map_err(|_| TooLong)?;
        headers.insert(BAGGAGE, value);
        Ok(())
    }
}

/// The settings have no carrier in baggage.
#[derive(Debug, thiserror::Error)]
#[error(
    "no carrier of the settings is baggage, so a command cannot pass the key on; add `- baggage: sandbox` \
     to `carriers` in the settings"
)]
pub struct NoBaggage;

/// Baggage has no room for one more member.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the baggage has no room for the key: expected at most {BAGGAGE_BYTES} bytes and {BAGGAGE_MEMBERS} \
     members with it; send less baggage"
)]
pub struct TooLong;

const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member() -> Member {
        let key = "pr-1".parse().expect("a key");
        Member::new(&[Carrier::default()], key).expect("baggage is a carrier by default")
    }

    #[test]
    fn a_request_gets_the_key_and_keeps_what_is_foreign() {
        for (lines, expected) in [
            (&[][..], "sandbox=pr-1"),
            (&["sandbox=pr-2"], "sandbox=pr-1"),
            (&["a=1;p, b = %20", "sandbox=other;q=1,c"], "sandbox=pr-1,a=1;p, b = %20,c"),
            (&["sandbox=1", "sandboxes=2, sandbox = 3"], "sandbox=pr-1,sandboxes=2"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(BAGGAGE, HeaderValue::from_static(line));
            }
            member().tag(&mut headers).expect("short baggage");
            let found: Vec<_> = headers.get_all(BAGGAGE).iter().collect();
            assert_eq!(found, [expected], "{lines:?}");
        }
    }

    #[test]
    fn baggage_without_room_is_an_error_and_not_a_request_without_the_key() {
        let mut headers = HeaderMap::new();
        let long =
            HeaderValue::try_from(format!("a={}", "b".repeat(BAGGAGE_BYTES))).expect("a value");
        headers.insert(BAGGAGE, long.clone());
        assert_eq!(member().tag(&mut headers), Err(TooLong));
        assert_eq!(headers.get(BAGGAGE), Some(&long));
    }

    proptest! {
        #[test]
        fn any_lines_of_a_request_end_in_one_with_the_key(
            lines in proptest::collection::vec("[ -~\\t]{0,40}", 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(BAGGAGE, HeaderValue::try_from(line.trim()).expect("visible"));
            }
            member().tag(&mut headers).expect("short baggage");
            let found: Vec<_> = headers.get_all(BAGGAGE).iter().collect();
            prop_assert_eq!(found.len(), 1);
            let key = baggage::find(found[0].as_bytes(), "sandbox").into_result();
            prop_assert_eq!(key.map(|key| key.to_string()), Ok("pr-1".to_owned()));
        }
    }
}

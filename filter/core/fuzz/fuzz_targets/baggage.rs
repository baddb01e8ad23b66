//! Laws of reading baggage: what is around the wanted member changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skycap_core::{baggage, key::RoutingKey};

fuzz_target!(|list: &[u8]| {
    let reading = baggage::find(list, "sandbox");
    // A member of another name changes nothing, first or last (but for the limit of bytes).
    if list.len() + 4 <= 8_192 {
        for longer in [[b"a=b,", list].concat(), [list, b",a=b"].concat()] {
            assert_eq!(baggage::find(&longer, "sandbox"), reading);
        }
    }
    // A key that is put in is found, whatever was there before.
    let key = RoutingKey::parse(b"pr-1").expect("a key");
    if let Some(longer) = baggage::insert(list, "sandbox", &key) {
        assert_eq!(baggage::find(&longer, "sandbox").into_result(), Ok(key));
    }
    // What is found stands in the list, percent-decoded: written plainly, it is found again.
    if let Ok(key) = reading.into_result() {
        let plain = format!("sandbox={key}");
        assert_eq!(baggage::find(plain.as_bytes(), "sandbox"), reading);
    }
});

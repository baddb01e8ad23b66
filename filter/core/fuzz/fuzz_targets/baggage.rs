//! Law 2: other members do not change what is read from baggage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skycap_core::{baggage, key::RoutingKey, limits::BAGGAGE_BYTES};

fuzz_target!(|list: &[u8]| {
    let reading = baggage::find(list, "sandbox");
    // A member of another name changes nothing at the start or at the end, within the limit.
    if list.len() + 4 <= BAGGAGE_BYTES {
        for longer in [[b"a=b,", list].concat(), [list, b",a=b"].concat()] {
            assert_eq!(baggage::find(&longer, "sandbox"), reading);
        }
    }
    // An inserted key is found, whatever the list contained before.
    let key = RoutingKey::parse(b"pr-1").expect("a key");
    if let Some(longer) = baggage::insert(list, "sandbox", &key) {
        assert_eq!(baggage::find(&longer, "sandbox").into_result(), Ok(key));
    }
    // The key that is found is decoded: written without encoding, it is found again.
    if let Ok(key) = reading.into_result() {
        let plain = format!("sandbox={key}");
        assert_eq!(baggage::find(plain.as_bytes(), "sandbox"), reading);
    }
});

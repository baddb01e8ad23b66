//! Attacks on the filter by whoever chooses keys: a developer those of the table, a client that of a
//! request.

use std::collections::HashMap;

use anyhow::Context as _;
use skycap_tests::host::Host;

use super::host::{TABLE, view, wasm};

/// 2,048 keys with the same 32-bit FNV-1a hash, which was the hash of the table once: reading
/// 20,000 of them took 3 s, and a request with another such key 0.3 ms.
#[test]
fn keys_that_collide_cost_what_other_keys_cost() -> anyhow::Result<()> {
    let hostile = colliding_keys(11);
    anyhow::ensure!(
        hostile.len() == 1 << 11 && fnv(0x811c_9dc5, &hostile[0]) == fnv(0x811c_9dc5, &hostile[1])
    );
    let friendly: Vec<_> = hostile
        .iter()
        .enumerate()
        .map(|(n, key)| format!("{n:0width$}", width = key.len()))
        .collect();
    let host = Host::new(&wasm()?)?;
    let mut costs = Vec::new();
    for keys in [&friendly, &hostile] {
        let mut vm = host.start()?;
        let (unknown, known) = keys.split_last().unwrap_or_else(|| unreachable!());
        let rows: Vec<_> = known.iter().map(|key| format!("{key}:0")).collect();
        let json = TABLE.replace("pr-1:0", &rows.join(" "));
        anyhow::ensure!(vm.configure(json.as_bytes())?, "the table was rejected");
        let configuration = vm.configuration_fuel()?;
        let baggage = format!("sandbox={unknown}");
        vm.request(&view(&[]))?;
        let request = vm.request(&view(&[("baggage", baggage.as_bytes())]))?.fuel;
        println!("{configuration} fuel for the table, {request} for a request with an unknown key");
        costs.push((configuration, request));
    }
    let [friendly, hostile] = costs[..] else { unreachable!() };
    // A run of full slots costs a few more comparisons, in either table.
    anyhow::ensure!(hostile.0 * 10 <= friendly.0 * 11, "the table: {hostile:?}, not {friendly:?}");
    anyhow::ensure!(
        hostile.1 * 10 <= friendly.1 * 11,
        "the request: {hostile:?}, not {friendly:?}"
    );
    Ok(())
}

/// A 503 of `onUnavailable: fail` names its target only to a request with the token, and no proxy behind
/// this one learns the token.
#[test]
fn a_client_learns_neither_targets_nor_the_token() -> anyhow::Result<()> {
    let json = TABLE
        .replace("\"to\":\"cart-{key}\"", "\"to\":\"cart-{key}\",\"unavailable\":true")
        .replace("\"explain\":\"on\"", "\"explain\":\"token:abc\"");
    let mut vm = Host::new(&wasm()?)?.start()?;
    anyhow::ensure!(vm.configure(json.as_bytes())?, "the table was rejected");
    let key = ("baggage", &b"sandbox=pr-1"[..]);
    for (asks, is_told) in [(None, false), (Some("1"), false), (Some("abc"), true)] {
        let header = asks.map(|token| ("x-skycap-explain", token.as_bytes()));
        let headers: Vec<_> = [key].into_iter().chain(header).collect();
        let outcome = vm.request(&view(&headers))?;
        let response = outcome.response.as_ref().context("the filter does not answer")?;
        let body = String::from_utf8_lossy(&response.body);
        anyhow::ensure!(
            response.status == 503 && body.contains("`pr-1`"),
            "{asks:?}: {response:?}"
        );
        anyhow::ensure!(body.contains("cart-pr-1") == is_told, "{asks:?}: {body}");
        let travels = outcome.headers.iter().any(|(name, _)| name == "x-skycap-explain");
        anyhow::ensure!(!travels, "{asks:?}: the token travels upstream");
    }
    Ok(())
}

/// A request whose dispatch header Envoy does not accept goes to the baseline, and must not count as
/// routed.
#[test]
fn what_envoy_does_not_accept_does_not_count_as_routed() -> anyhow::Result<()> {
    let mut vm = Host::new(&wasm()?)?.start()?;
    anyhow::ensure!(vm.configure(TABLE.as_bytes())?, "the table was rejected");
    vm.answer_with(Some(("proxy_replace_header_map_value", 2)));
    vm.request(&view(&[("baggage", b"sandbox=pr-1")]))?;
    vm.answer_with(None);
    vm.tick()?;
    let count = |outcome: &str| vm.metric(&format!("skycap_requests_total.outcome=.={outcome};.;"));
    anyhow::ensure!((count("routed"), count("not_applied")) == (0, 1));
    Ok(())
}

/// 2 to the power of `blocks` keys with one hash: each block has two forms that lead from one state of
/// the hash to the same next one (Joux, "Multicollisions in iterated hash functions", CRYPTO 2004).
fn colliding_keys(blocks: usize) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut state = 0x811c_9dc5;
    for _ in 0..blocks {
        let [one, other] = colliding_blocks(state);
        state = fnv(state, &one);
        keys =
            keys.iter().flat_map(|key| [format!("{key}{one}"), format!("{key}{other}")]).collect();
    }
    keys
}

/// Two texts of four bytes that lead from `state` to the same next one.
fn colliding_blocks(state: u32) -> [String; 2] {
    let mut seen: HashMap<u32, String> = HashMap::new();
    (0..36_u32.pow(4))
        .find_map(|number| {
            let digit = |place: u32| char::from_digit(number / 36_u32.pow(place) % 36, 36);
            let block: String = (0..4).filter_map(digit).collect();
            let other = seen.insert(fnv(state, &block), block.clone())?;
            Some([other, block])
        })
        .unwrap_or_else(|| {
            unreachable!("1.7 million texts, and a collision is expected after 80,000")
        })
}

fn fnv(state: u32, text: &str) -> u32 {
    text.bytes().fold(state, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

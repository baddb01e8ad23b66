//! Builds the suite's tools while its tests run.

use std::thread;

use super::{
    Tier,
    tool::{CARGO_DENY, CARGO_FUZZ, Tool},
    wasm,
};

/// Builds the programs that these tiers need and the cache does not have. That happens in the
/// background, because tests often leave a core idle. The tier that needs a program reports an error.
pub(super) fn build_in_background(tiers: &[Tier]) {
    let tools: Vec<_> = tiers.iter().filter_map(|tier| tool_of(*tier)).collect();
    thread::spawn(move || tools.iter().for_each(|tool| drop(tool.path())));
}

fn tool_of(tier: Tier) -> Option<Tool> {
    match tier {
        Tier::Lint => Some(CARGO_DENY),
        Tier::Wasm => wasm::test_runner().ok(),
        Tier::Fuzz => Some(CARGO_FUZZ),
        _ => None,
    }
}

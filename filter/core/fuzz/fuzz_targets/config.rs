//! A configuration is accepted or rejected. An accepted one is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skycap_core::{config::PluginConfig, table::{Seed, Table}};

fuzz_target!(|json: &[u8]| {
    let Ok(config) = PluginConfig::from_json(json) else { return };
    let Ok(table) = Table::new(config.clone(), Seed::new([1, 2])) else { return };
    for (key, routes) in config.keys.iter() {
        let found = table.find(&key.parse().expect("a key")).expect("every key is found");
        assert_eq!(found.iter().count(), routes.len());
    }
    let written = config.clone().into_json().expect("a configuration is written");
    let read =
        PluginConfig::from_json(written.as_bytes()).expect("a written configuration is read");
    assert_eq!(
        PluginConfig { generation: config.generation, version: config.version, ..read },
        config
    );
});

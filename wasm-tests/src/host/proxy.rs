//! How Envoy treats a filter: first a trial VM, then the worker.

use std::collections::{BTreeMap, HashSet};

use anyhow::Context as _;

use super::{Host, Vm};

/// A filter over the life of an Envoy: a trial VM for each configuration, and one worker.
pub struct Proxy {
    host: Host,
    /// Configurations that passed the trial. Envoy does not try them again (CH: src/wasm.cc
    /// `plugin_canary_cache_`).
    tried: HashSet<Vec<u8>>,
    /// The worker's VM; `None` before the first configuration.
    pub worker: Option<Vm>,
}

impl Proxy {
    /// A process without a configuration.
    ///
    /// # Errors
    /// If it is not a valid module.
    pub fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { host: Host::new(wasm)?, tried: HashSet::new(), worker: None })
    }

    /// From now on, VMs run in a gateway or a sidecar with these labels.
    pub fn set_node(&mut self, is_gateway: bool, labels: &BTreeMap<String, String>) {
        self.host.set_node(is_gateway, labels);
    }

    /// Pushes a configuration; `false` is Envoy's `update_rejected`.
    ///
    /// # Errors
    /// If the module traps, or if the worker rejects what the trial accepted: the worker would lose
    /// its filter (Envoy 1.40 logs `Failed to configure thread-local Wasm plugin`).
    pub fn push(&mut self, json: &[u8]) -> anyhow::Result<bool> {
        if !self.tried.contains(json) {
            if !self.host.start()?.configure(json)? {
                return Ok(false);
            }
            self.tried.insert(json.to_vec());
        }
        if self.worker.is_none() {
            self.worker = Some(self.host.start()?);
        }
        let worker = self.worker.as_mut().context("the worker was just started")?;
        anyhow::ensure!(worker.configure(json)?, "the worker rejected what the trial VM accepted");
        Ok(true)
    }

    /// The worker.
    ///
    /// # Errors
    /// If no configuration was pushed yet.
    pub fn worker(&mut self) -> anyhow::Result<&mut Vm> {
        self.worker.as_mut().context("no configuration was pushed yet")
    }
}

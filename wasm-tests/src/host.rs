//! An in-process Proxy-Wasm host: the built module on wasmi, with every call counted.
//!
//! To the module it is what Envoy is (ABI 0.2.1), as far as skycap can tell the difference. Each
//! modelled law names its source: Envoy's host library proxy-wasm-cpp-host (`CH`) or Envoy's
//! `source/extensions/common/wasm/context.cc` (`ctx`). Other tests run real Envoys. This host can do
//! what they cannot: answer any call with any status, and count fuel and memory.

mod calls;
mod memory;
mod proxy;
mod vm;
mod vm_state;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use wasmi::{Config, Engine, Linker, Module, Store, StoreLimitsBuilder};

use self::vm_state::VmState;
pub use self::{
    proxy::Proxy,
    vm::{Stream, Vm},
    vm_state::{LocalResponse, Log},
};

/// Shared by all VMs of a process (CH: src/shared_data.cc).
pub(crate) type SharedData = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// A process with the module. It compiles the module once, and starts any number of VMs.
pub struct Host {
    engine: Engine,
    module: Module,
    shared: SharedData,
    node: Vec<(String, String)>,
}

/// A request, as Envoy shows it to the filter.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The lines of the headers, with names in lower case, including pseudo-headers such as `:path`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// `xds.cluster_name`; `None` if Envoy picked no cluster.
    pub cluster_name: Option<Vec<u8>>,
    /// `xds.virtual_host_name`.
    pub virtual_host_name: Option<Vec<u8>>,
}

/// The result of a request, and its cost.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The headers that are sent on.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The response by the filter itself.
    pub response: Option<LocalResponse>,
    /// The lines of `x-skycap-decision` on the response.
    pub decisions: Vec<String>,
    /// The number of host calls, by name, including those for the response.
    pub calls: BTreeMap<&'static str, u32>,
    /// How often the VM was entered, including for allocations.
    pub entries: u32,
    /// wasmi's fuel: a count of instructions that depends only on module and input.
    pub fuel: u64,
}

impl Host {
    /// Compiles a module.
    ///
    /// # Errors
    /// If it is not a valid module.
    pub fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self { engine, module, shared: SharedData::default(), node: Vec::new() })
    }

    /// From now on, VMs run in a gateway or a sidecar with these labels (istio: `model.NodeMetadata`).
    pub fn set_node(&mut self, is_gateway: bool, labels: &BTreeMap<String, String>) {
        let id = if is_gateway { "router~10.0.0.1~a~b" } else { "sidecar~10.0.0.1~a~b" };
        let labels = labels
            .iter()
            .map(|(name, value)| (format!("xds\0node\0metadata\0LABELS\0{name}"), value.clone()));
        self.node = labels.chain([("xds\0node\0id".into(), id.into())]).collect();
    }

    /// Starts a VM that has no configuration yet.
    ///
    /// # Errors
    /// If the module imports a call that this host does not have, or traps.
    pub fn start(&self) -> anyhow::Result<Vm> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build();
        let state = VmState::new(limits, Arc::clone(&self.shared), &self.node);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_fuel(FUEL).map_err(wasm_error)?;
        let mut linker = Linker::new(&self.engine);
        calls::define(&mut linker).map_err(wasm_error)?;
        let instance =
            linker.instantiate_and_start(&mut store, &self.module).map_err(wasm_error)?;
        Ok(Vm::new(store, instance))
    }
}

fn wasm_error(error: wasmi::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// A quarter of Envoy's limit (CH: include/proxy-wasm/limits.h).
const MEMORY_BYTES: usize = 256 << 20;
/// More than the largest configuration needs. Each entry into the VM has at least half of it.
const FUEL: u64 = 20_000_000_000;

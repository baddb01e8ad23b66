//! An in-process Proxy-Wasm host: the built module on wasmi, with everything counted.
//!
//! It is what Envoy is to the module (ABI 0.2.1), as far as skycap can tell the two apart. Each
//! law that is modelled names its source: the host library of Envoy, proxy-wasm-cpp-host (`CH`),
//! and Envoy's `source/extensions/common/wasm/context.cc` (`ctx`). Real Envoys are tested too;
//! this one can be asked for what they never do: each status for each call, fuel, memory.

mod calls;
mod state;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use wasmi::{Config, Engine, Instance, Linker, Module, Store, StoreLimitsBuilder};

use self::state::State;
pub use self::state::{LocalResponse, Log};

/// What all VMs of one process share (CH: src/shared_data.cc).
pub(crate) type SharedData = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// A process with the module: it compiles once and makes as many VMs as are wanted.
pub struct Host {
    engine: Engine,
    module: Module,
    shared: SharedData,
}

/// One VM: linear memory, and the host's side of it.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    next_context: u32,
}

/// A request as Envoy would show it to the filter.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Lines of headers, names in lower case, `:path` and its like among them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// `xds.cluster_name`; `None` where Envoy picked none.
    pub cluster_name: Option<Vec<u8>>,
    /// `xds.virtual_host_name`.
    pub virtual_host_name: Option<Vec<u8>>,
}

/// What became of a request, and what it cost.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The headers that go on.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The answer that the filter gave by itself.
    pub response: Option<LocalResponse>,
    /// The lines of `x-skycap-decision` on the response.
    pub decisions: Vec<String>,
    /// Host calls by name, those of the response among them.
    pub calls: BTreeMap<&'static str, u32>,
    /// How often the VM was entered, allocations among them.
    pub entries: u32,
    /// wasmi's fuel: a count of instructions that depends on nothing but module and input.
    pub fuel: u64,
}

impl Host {
    /// Compiles a module.
    ///
    /// # Errors
    /// When it is no module.
    pub fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self { engine, module, shared: SharedData::default() })
    }

    /// A new VM, which has seen no configuration.
    ///
    /// # Errors
    /// When the module imports what this host does not have, or traps.
    pub fn start(&self) -> anyhow::Result<Vm> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build();
        let mut store = Store::new(&self.engine, State::new(limits, Arc::clone(&self.shared)));
        store.limiter(|state| &mut state.limits);
        store.set_fuel(FUEL).map_err(wasm_error)?;
        let mut linker = Linker::new(&self.engine);
        calls::define(&mut linker).map_err(wasm_error)?;
        let instance =
            linker.instantiate_and_start(&mut store, &self.module).map_err(wasm_error)?;
        Ok(Vm { store, instance, next_context: 1 })
    }
}

impl Vm {
    /// Configures a new root context, as Envoy does for each new configuration.
    ///
    /// # Errors
    /// When the module traps.
    pub fn configure(&mut self, json: &[u8]) -> anyhow::Result<bool> {
        self.store.data_mut().plugin_configuration = json.to_vec();
        let (root, size) = (self.context(), u32::try_from(json.len())?);
        self.enter("proxy_on_vm_start", &[root, 0])?;
        let taken = self.enter("proxy_on_configure", &[root, size])?;
        self.store.data_mut().plugin_configuration.clear();
        Ok(taken.is_none_or(|taken| taken != 0))
    }

    /// Takes a request and its response through a stream of their own.
    ///
    /// # Errors
    /// When the module traps.
    pub fn request(&mut self, view: &View) -> anyhow::Result<Outcome> {
        let stream = self.open(view)?;
        self.close(stream)
    }

    /// Begins a stream: the request has gone by, its response has not come yet.
    ///
    /// # Errors
    /// When the module traps.
    pub fn open(&mut self, view: &View) -> anyhow::Result<Stream> {
        let id = self.context();
        self.store.set_fuel(FUEL).map_err(wasm_error)?;
        self.store.data_mut().begin(view);
        let headers = u32::try_from(view.headers.len())?;
        self.enter("proxy_on_context_create", &[id, 1])?;
        self.enter("proxy_on_request_headers", &[id, headers, 1])?;
        Ok(Stream { id, headers: self.store.data().request_headers.clone() })
    }

    /// Ends a stream with a response of no headers.
    ///
    /// # Errors
    /// When the module traps.
    pub fn close(&mut self, stream: Stream) -> anyhow::Result<Outcome> {
        let Stream { id, headers } = stream;
        self.enter("proxy_on_response_headers", &[id, 0, 1])?;
        for end in ["proxy_on_done", "proxy_on_log", "proxy_on_delete"] {
            self.enter(end, &[id])?;
        }
        let fuel = FUEL.saturating_sub(self.store.get_fuel().map_err(wasm_error)?);
        let state = self.store.data_mut();
        let decisions = std::mem::take(&mut state.response_headers).into_iter();
        Ok(Outcome {
            headers,
            response: state.response.take(),
            decisions: decisions
                .filter(|(name, _)| name == skycap_core::explain::DECISION_HEADER)
                .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
                .collect(),
            calls: std::mem::take(&mut state.calls),
            entries: std::mem::take(&mut state.entries),
            fuel,
        })
    }

    /// Lets a second go by.
    ///
    /// # Errors
    /// When the module traps.
    pub fn tick(&mut self) -> anyhow::Result<()> {
        self.enter("proxy_on_tick", &[1]).map(drop)
    }

    /// The value of a metric, 0 where there is none of that name.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = &self.store.data().metrics;
        metrics.iter().find(|(metric, _)| metric == name).map_or(0, |(_, value)| *value)
    }

    /// The names of all metrics.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.store.data().metrics.iter().map(|(name, _)| name.as_str())
    }

    /// What the module has logged.
    #[must_use]
    pub fn log(&self) -> &[Log] {
        &self.store.data().log
    }

    /// From now on, this host call answers with this status and does nothing; `None` ends it.
    pub fn answer_with(&mut self, fault: Option<(&'static str, u32)>) {
        self.store.data_mut().fault = fault;
    }

    /// Bytes of linear memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory");
        memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    fn context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context
    }

    /// Enters a callback, when the module exports it (CH: src/context.cc looks the same way).
    fn enter(&mut self, callback: &str, args: &[u32]) -> anyhow::Result<Option<u32>> {
        let Some(wasmi::Extern::Func(function)) = self.instance.get_export(&self.store, callback)
        else {
            return Ok(None);
        };
        self.store.set_fuel(self.store.get_fuel().map_err(wasm_error)?.max(FUEL / 2)).ok();
        self.store.data_mut().entries += 1;
        let args: Vec<_> = args.iter().map(|arg| wasmi::Val::I32(arg.cast_signed())).collect();
        let mut results = vec![wasmi::Val::I32(0); function.ty(&self.store).results().len()];
        function
            .call(&mut self.store, &args, &mut results)
            .map_err(wasm_error)
            .with_context(|| format!("{callback} trapped"))?;
        Ok(results.first().and_then(wasmi::Val::i32).map(i32::cast_unsigned))
    }
}

/// A stream whose response has not come yet.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    headers: Vec<(String, Vec<u8>)>,
}

/// What Envoy does with one filter over its time: a trial VM for each configuration, and a worker.
pub struct Proxy {
    host: Host,
    /// Configurations that passed the trial, which Envoy does not try again
    /// (CH: src/wasm.cc `plugin_canary_cache_`).
    tried: HashSet<Vec<u8>>,
    /// The worker's VM; `None` until there is a first configuration.
    pub worker: Option<Vm>,
}

impl Proxy {
    /// A process that has seen no configuration.
    ///
    /// # Errors
    /// When it is no module.
    pub fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { host: Host::new(wasm)?, tried: HashSet::new(), worker: None })
    }

    /// Pushes a configuration; `false` is Envoy's `update_rejected`.
    ///
    /// # Errors
    /// When the module traps, or when a worker refuses what the trial took: that would cost the
    /// worker its filter (seen on Envoy 1.40: `Failed to configure thread-local Wasm plugin`).
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
        let worker = self.worker.as_mut().context("there is a worker now")?;
        anyhow::ensure!(worker.configure(json)?, "the worker refuses what the trial VM took");
        Ok(true)
    }

    /// The worker.
    ///
    /// # Errors
    /// When nothing was pushed yet.
    pub fn worker(&mut self) -> anyhow::Result<&mut Vm> {
        self.worker.as_mut().context("no configuration has been pushed")
    }
}

pub(crate) fn wasm_error(error: wasmi::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// A quarter of what Envoy grants (CH: include/proxy-wasm/limits.h).
const MEMORY_BYTES: usize = 256 << 20;
/// More than the largest configuration needs; each entry has at least half of it.
const FUEL: u64 = 20_000_000_000;

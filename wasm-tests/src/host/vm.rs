//! One VM: its linear memory, its contexts, and the callbacks that Envoy makes.

use anyhow::Context as _;
use wasmi::{Extern, Instance, Store, Val};

use super::{FUEL, Log, Outcome, View, vm_state::VmState, wasm_error};

/// A VM that runs the module.
pub struct Vm {
    store: Store<VmState>,
    instance: Instance,
    next_context: u32,
}

/// A stream that waits for its response.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    headers: Vec<(String, Vec<u8>)>,
}

impl Vm {
    pub(super) const fn new(store: Store<VmState>, instance: Instance) -> Self {
        Self { store, instance, next_context: 1 }
    }

    /// Configures a new root context, as Envoy does for each configuration. Returns whether the
    /// module accepted it.
    ///
    /// # Errors
    /// If the module traps.
    pub fn configure(&mut self, json: &[u8]) -> anyhow::Result<bool> {
        self.store.set_fuel(FUEL).map_err(wasm_error)?;
        self.store.data_mut().plugin_configuration = json.to_vec();
        let (root, size) = (self.context(), u32::try_from(json.len())?);
        self.enter("proxy_on_vm_start", &[root, 0])?;
        let taken = self.enter("proxy_on_configure", &[root, size])?;
        self.store.data_mut().plugin_configuration.clear();
        Ok(taken.is_none_or(|taken| taken != 0))
    }

    /// The fuel that the last configuration took, if no request has passed since.
    ///
    /// # Errors
    /// Errors of wasmi; none is known.
    pub fn configuration_fuel(&self) -> anyhow::Result<u64> {
        Ok(FUEL.saturating_sub(self.store.get_fuel().map_err(wasm_error)?))
    }

    /// Passes a request and its response through a stream of their own.
    ///
    /// # Errors
    /// If the module traps.
    pub fn request(&mut self, view: &View) -> anyhow::Result<Outcome> {
        let stream = self.open(view)?;
        self.close(stream)
    }

    /// Begins a stream: the request has passed, the response has not arrived yet.
    ///
    /// # Errors
    /// If the module traps.
    pub fn open(&mut self, view: &View) -> anyhow::Result<Stream> {
        let id = self.context();
        self.store.set_fuel(FUEL).map_err(wasm_error)?;
        self.store.data_mut().begin(view);
        let headers = u32::try_from(view.headers.len())?;
        self.enter("proxy_on_context_create", &[id, 1])?;
        self.enter("proxy_on_request_headers", &[id, headers, 1])?;
        Ok(Stream { id, headers: self.store.data().request_headers.clone() })
    }

    /// Ends a stream, with a response without headers.
    ///
    /// # Errors
    /// If the module traps.
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
                .filter(|(name, _)| name == skycap_core::decision_header::DECISION_HEADER)
                .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
                .collect(),
            calls: std::mem::take(&mut state.calls),
            entries: std::mem::take(&mut state.entries),
            fuel,
        })
    }

    /// Lets one second pass.
    ///
    /// # Errors
    /// If the module traps.
    pub fn tick(&mut self) -> anyhow::Result<()> {
        self.enter("proxy_on_tick", &[1]).map(drop)
    }

    /// The value of a metric; 0 if no metric has this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = &self.store.data().metrics;
        metrics.iter().find(|(metric, _)| metric == name).map_or(0, |(_, value)| *value)
    }

    /// The names of all metrics.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.store.data().metrics.iter().map(|(name, _)| name.as_str())
    }

    /// The module's log.
    #[must_use]
    pub fn log(&self) -> &[Log] {
        &self.store.data().log
    }

    /// From now on, this host call only returns this status; `None` ends that.
    pub fn answer_with(&mut self, fault: Option<(&'static str, u32)>) {
        self.store.data_mut().fault = fault;
    }

    /// The size of the linear memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory");
        memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    fn context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context
    }

    /// Calls a callback, if the module exports it (as CH: src/context.cc).
    fn enter(&mut self, callback: &str, args: &[u32]) -> anyhow::Result<Option<u32>> {
        let Some(Extern::Func(function)) = self.instance.get_export(&self.store, callback) else {
            return Ok(None);
        };
        self.store.set_fuel(self.store.get_fuel().map_err(wasm_error)?.max(FUEL / 2)).ok();
        self.store.data_mut().entries += 1;
        let args: Vec<_> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function
            .call(&mut self.store, &args, &mut results)
            .map_err(wasm_error)
            .with_context(|| format!("{callback} trapped"))?;
        Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned))
    }
}

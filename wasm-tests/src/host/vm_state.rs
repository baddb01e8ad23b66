//! The state that the host keeps for one VM.

use std::collections::BTreeMap;

use wasmi::StoreLimits;

use super::{SharedData, View};

/// Everything that the host calls of one VM read and write.
pub(crate) struct VmState {
    pub(crate) limits: StoreLimits,
    pub(crate) shared: SharedData,
    pub(crate) plugin_configuration: Vec<u8>,
    pub(crate) request_headers: Vec<(String, Vec<u8>)>,
    pub(crate) response_headers: Vec<(String, Vec<u8>)>,
    /// Attributes, by path, with NUL between the parts of a path.
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the filter has set for the current stream (ctx: `setProperty`, filter state `wasm.…`).
    pub(crate) stream_properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The response by the filter itself.
    pub(crate) response: Option<LocalResponse>,
    pub(crate) log: Vec<Log>,
    /// Names and values. The index is the id.
    pub(crate) metrics: Vec<(String, u64)>,
    /// The host call that fails, and its status.
    pub(crate) fault: Option<(&'static str, u32)>,
    /// The number of host calls, by name, since the request began.
    pub(crate) calls: BTreeMap<&'static str, u32>,
    /// How often the VM was entered since the request began.
    pub(crate) entries: u32,
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct Log {
    /// The level in the ABI: 1 debug, 2 info, 3 warn, 4 error.
    pub level: u32,
    /// The text.
    pub line: String,
}

/// A response by the filter itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// Its status.
    pub status: u32,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl VmState {
    pub(crate) fn new(limits: StoreLimits, shared: SharedData, node: &[(String, String)]) -> Self {
        let plugin = (b"plugin_name".to_vec(), b"istio-system.skycap".to_vec());
        let node = node.iter().cloned();
        let node = node.map(|(path, value)| (path.into_bytes(), value.into_bytes()));
        Self {
            limits,
            shared,
            plugin_configuration: Vec::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            properties: node.chain([plugin]).collect(),
            stream_properties: BTreeMap::new(),
            response: None,
            log: Vec::new(),
            metrics: Vec::new(),
            fault: None,
            calls: BTreeMap::new(),
            entries: 0,
        }
    }

    /// Begins a request.
    pub(crate) fn begin(&mut self, view: &View) {
        self.request_headers.clone_from(&view.headers);
        self.response_headers.clear();
        self.response = None;
        self.stream_properties.clear();
        self.calls.clear();
        self.entries = 0;
        let attributes = [
            (&b"xds\0cluster_name"[..], &view.cluster_name),
            (b"xds\0virtual_host_name", &view.virtual_host_name),
        ];
        for (path, value) in attributes {
            self.properties.remove(path);
            self.properties.extend(value.clone().map(|value| (path.to_vec(), value)));
        }
    }

    /// An attribute. `request.headers.NAME` is all lines joined with `,`, read at each call (ctx: the
    /// CEL activation wraps the live header map; `getAllOfHeaderAsString`).
    pub(crate) fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some(name) = path.strip_prefix(b"request\0headers\0") {
            let lines = self.request_headers.iter().filter(|(other, _)| other.as_bytes() == name);
            let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
            return (!lines.is_empty()).then(|| lines.join(&b','));
        }
        self.properties.get(path).cloned()
    }

    /// A map of headers, by its number in the ABI.
    pub(crate) fn headers(&mut self, map: u32) -> Option<&mut Vec<(String, Vec<u8>)>> {
        match map {
            0 => Some(&mut self.request_headers),
            2 => Some(&mut self.response_headers),
            _ => None,
        }
    }
}

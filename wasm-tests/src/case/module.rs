//! The case table through the built module, in the in-process host.

use anyhow::{bail, ensure};
use skycap_core::config::PluginConfig;

use super::scenario::{Observed, Scenario};
use crate::host::{Proxy, View};

impl Scenario {
    /// Runs the requests through the built module. Returns the failures, one for each case.
    ///
    /// # Errors
    /// If the scenario itself is invalid, or if the module traps.
    pub fn run_in(&self, wasm: &[u8]) -> anyhow::Result<Vec<String>> {
        let json = self.table()?;
        let dispatch = PluginConfig::from_json(json.as_bytes())?.dispatch;
        let mut proxy = Proxy::new(wasm)?;
        proxy.set_node(self.gateway, &self.proxy_labels);
        ensure!(proxy.push(json.as_bytes())?, "the module rejected the table");
        self.run(dispatch, |view| observe(&mut proxy, view))
    }
}

/// The reason is the label of the one counter of requests that grew.
fn observe(proxy: &mut Proxy, view: &View) -> anyhow::Result<Observed> {
    let worker = proxy.worker()?;
    let counters: Vec<String> = worker
        .metrics()
        .filter(|name| name.starts_with("skycap_requests_total."))
        .map(str::to_owned)
        .collect();
    let before: Vec<u64> = counters.iter().map(|name| worker.metric(name)).collect();
    let outcome = worker.request(view)?;
    worker.tick()?;
    let grown = counters.iter().zip(before).filter(|(name, before)| worker.metric(name) > *before);
    let [(counter, _)] = grown.collect::<Vec<_>>()[..] else {
        bail!("the request did not count as exactly one outcome");
    };
    let reason = counter.rsplit("=.=").next().and_then(|label| label.strip_suffix(";.;"));
    let mut headers = outcome.headers;
    headers.sort();
    let status = outcome.response.map(|response| response.status);
    Ok(Observed { headers, status, reason: reason.unwrap_or_default().into() })
}

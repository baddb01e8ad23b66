//! The case table through the core, natively.

use std::borrow::Cow;

use skycap_core::{
    decision::decide,
    effect::{CarrierEdit, HeaderEdit},
    request::Request,
    table::{Seed, Table},
};

use super::scenario::{Observed, Scenario, set};
use crate::host::View;

impl Scenario {
    /// Runs the requests through the core alone. Returns the failures, one for each case.
    ///
    /// # Errors
    /// If the scenario itself is invalid.
    pub fn run_natively(&self) -> anyhow::Result<Vec<String>> {
        let label =
            |name: &str| self.proxy_labels.get(name).map(|value| value.clone().into_bytes());
        let table = Table::from_json(self.table()?.as_bytes(), Seed::new([1, 2]))?
            .placed_by(self.gateway, label);
        self.run(table.config().dispatch, |view| Ok(observe(&table, view)))
    }
}

fn observe(table: &Table, view: &View) -> Observed {
    let mut decision = decide(table, view);
    let edits = decision.edge_edits(view);
    let effect = decision.effect();
    let mut headers = view.headers.clone();
    if let Some(baggage) = effect.baggage {
        set(&mut headers, "baggage", baggage);
    }
    for CarrierEdit { header, value } in edits {
        match value {
            Some(value) => set(&mut headers, &header, value),
            None => headers.retain(|(other, _)| *other != header),
        }
    }
    match effect.dispatch {
        Some(HeaderEdit::Remove(name)) => headers.retain(|(other, _)| other != name),
        Some(HeaderEdit::Set(name, value)) => set(&mut headers, name, value.into_bytes()),
        None => {}
    }
    headers.sort();
    let status = effect.response.map(|response| u32::from(response.status));
    Observed { headers, status, reason: decision.reason.label().into() }
}

impl Request for View {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let lines = self.headers.iter().filter(|(other, _)| other == name);
        let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
        let separator: &[u8] = if name == "cookie" { b"; " } else { b"," };
        (!lines.is_empty()).then(|| lines.join(separator).into())
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other == name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.cluster_name.clone()
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        self.virtual_host_name.clone()
    }
}

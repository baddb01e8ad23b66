//! The case table through the HTTPRoutes of the same table, by the model of how meshes rank them.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::json;
use skycap::{
    desired::gateway_api::HttpRoutes,
    table::{cluster::Cluster, meshes::Meshes, policies::Policies},
};
use skycap_core::config::PluginConfig;

use super::scenario::{Case, Scenario};
use crate::http_route_model::{Answer, HttpRouteModel, Route};

impl Scenario {
    /// Runs the requests through the HTTPRoutes. Returns the failures, one for each case.
    ///
    /// Cases that set what Envoy picked are left out: a mesh without Envoy picks nothing before its
    /// HTTPRoutes.
    ///
    /// # Errors
    /// If the scenario itself is invalid.
    pub fn run_on(&self, model: HttpRouteModel) -> anyhow::Result<Vec<String>> {
        let config = PluginConfig::from_json(self.table()?.as_bytes())?;
        let cluster = self.cluster()?;
        let routes = HttpRoutes::new(&config, &cluster, &Policies::default(), &Meshes::default());
        let mut failures = Vec::new();
        if self.gateway || !self.proxy_labels.is_empty() {
            // An HTTPRoute knows no proxies, so it has no edge.
            return Ok(failures);
        }
        for case in self.requests.iter().filter(|case| case.has_default_destination()) {
            let (service, port) = case.destination()?;
            let found = Route::of(&routes.objects, service, port, 0)?;
            let observed = match model.answer(&found, &case.view()?)? {
                Answer::Service => "baseline".to_owned(),
                Answer::NotFound => "404".to_owned(),
                Answer::Rule { backends, .. } if backends == [case.to.clone()] => "baseline".into(),
                Answer::Rule { backends, .. } => backends.join(" "),
            };
            let expected = expected(case, model)?;
            // An unavailable target is still the backend; the mesh answers with its own 5xx.
            let is_unavailable =
                expected == "503" && !["baseline", "404"].contains(&observed.as_str());
            if observed != expected && !is_unavailable {
                failures.push(format!("{}: expected {expected}, but saw {observed}", case.about));
            }
        }
        Ok(failures)
    }

    /// The scenario's Services or, if it has none, the Services of its requests.
    fn cluster(&self) -> anyhow::Result<Cluster> {
        let manifests = self.manifests();
        if !manifests.services.is_empty() {
            return Ok(Cluster::new(&manifests.services, &manifests.endpoint_slices));
        }
        let mut ports = BTreeMap::<_, Vec<_>>::new();
        for case in &self.requests {
            let (service, port) = case.destination()?;
            ports.entry(service).or_default().push(json!({"port": port}));
        }
        let services = ports.into_iter().filter_map(|(service, ports)| {
            let (name, namespace) = service.split_once('.')?;
            let metadata = json!({"name": name, "namespace": namespace});
            Some(serde_json::from_value(json!({"metadata": metadata, "spec": {"ports": ports}})))
        });
        Ok(Cluster::new(&services.collect::<Result<Vec<_>, _>>()?, &[]))
    }
}

/// What the case expects of this model. A difference must be one.
fn expected(case: &Case, model: HttpRouteModel) -> anyhow::Result<&str> {
    let difference = case.http_route_model.as_ref().and_then(|difference| match model {
        HttpRouteModel::Linkerd => difference.linkerd.as_ref(),
        HttpRouteModel::GatewayApi => difference.gateway_api.as_ref(),
    });
    ensure!(
        difference != Some(&case.expect),
        "{}: `httpRouteModel` repeats `expect`; remove it",
        case.about
    );
    Ok(difference.unwrap_or(&case.expect))
}

//! The metrics of one proxy, in the text format of Prometheus.

use std::collections::BTreeMap;

use serde::Serialize;

/// The metrics of one proxy that concern a plugin and its requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyMetrics {
    /// The generation of the module's table as a number; `None` if the module never had one. The
    /// gauge outlives the module, so [`Self::vm_seconds`] must grow too.
    pub generation: Option<u64>,
    /// The number of VMs that have started since the proxy started.
    pub vms: f64,
    /// The number of the proxy's worker threads.
    pub workers: f64,
    /// The time for which the VMs have run, in seconds, summed over the VMs.
    pub vm_seconds: f64,
    /// The number of tables that the module rejected.
    pub rejected_tables: f64,
    /// The number of times that Istio's agent could not fetch a module.
    pub fetch_failures: f64,
    /// The number of requests that the module decided.
    pub decided: f64,
    /// The same by outcome, such as `routed`.
    pub outcomes: BTreeMap<String, f64>,
    /// The number of outbound requests.
    pub requests: f64,
    /// The number of outbound requests with a 5xx response.
    pub errors: f64,
    /// The latencies of outbound requests in milliseconds, summed.
    pub latency_ms_sum: f64,
    /// The number of latencies in the sum.
    pub latency_ms_count: f64,
}

impl ProxyMetrics {
    /// Reads the metrics for `plugin` (its name in Envoy) from the text format of Prometheus. A
    /// metric that is missing is 0.
    #[must_use]
    pub fn parse(text: &str, plugin: &str) -> Self {
        let mut metrics = Self::default();
        for (name, labels, value) in text.lines().filter_map(series) {
            let is = |metric: &str| is_of_plugin(metric, plugin, name, labels);
            if is("skycap_table_generation") {
                metrics.generation = Some(value as u64);
            } else if is("skycap_vms_total") {
                metrics.vms += value;
            } else if is("skycap_vm_milliseconds_total") {
                metrics.vm_seconds += value / 1000.0;
            } else if is("skycap_tables_refused_total") {
                metrics.rejected_tables += value;
            } else if name == "envoy_server_concurrency" {
                metrics.workers = value;
            } else if name.starts_with("skycap_requests_total") {
                metrics.decided += value;
                let outcome = outcome(name, labels).unwrap_or_default();
                *metrics.outcomes.entry(outcome.to_owned()).or_default() += value;
            } else if name == "istio_agent_wasm_config_conversion_count"
                && labels.contains("result=\"fetch_failure\"")
            {
                metrics.fetch_failures += value;
            }
        }
        metrics.read_requests(text);
        metrics
    }

    /// The increase since `before`. If the proxy has restarted in between, its counters started at
    /// 0 again, and so they are the increase.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.requests <= self.requests) else {
            return self.clone();
        };
        Self {
            generation: self.generation,
            vms: self.vms - before.vms,
            workers: self.workers,
            vm_seconds: self.vm_seconds - before.vm_seconds,
            rejected_tables: self.rejected_tables - before.rejected_tables,
            fetch_failures: self.fetch_failures - before.fetch_failures,
            decided: self.decided - before.decided,
            outcomes: self
                .outcomes
                .iter()
                .map(|(outcome, count)| {
                    let past = before.outcomes.get(outcome).copied().unwrap_or_default();
                    (outcome.clone(), count - past)
                })
                .collect(),
            requests: self.requests - before.requests,
            errors: self.errors - before.errors,
            latency_ms_sum: self.latency_ms_sum - before.latency_ms_sum,
            latency_ms_count: self.latency_ms_count - before.latency_ms_count,
        }
    }

    /// Reads the outbound requests from Istio's metrics, or from Envoy's if the proxy does not have
    /// Istio's.
    fn read_requests(&mut self, text: &str) {
        let sources = [
            ("istio_requests_total", "istio_request_duration_milliseconds", "reporter=\"source\""),
            (
                // Istio's bootstrap turns the suffix `_5xx` of Envoy's counter into a label.
                "envoy_http_downstream_rq",
                "envoy_http_downstream_rq_time",
                "http_conn_manager_prefix=\"outbound_",
            ),
        ];
        for (requests, latency, outbound) in sources {
            let (sum, count) = (format!("{latency}_sum"), format!("{latency}_count"));
            let series = text.lines().filter_map(series);
            for (name, labels, value) in series.filter(|(_, labels, _)| labels.contains(outbound)) {
                if name == requests {
                    self.requests += value;
                    self.errors += if is_failure(labels) { value } else { 0.0 };
                } else if name == sum {
                    self.latency_ms_sum += value;
                } else if name == count {
                    self.latency_ms_count += value;
                }
            }
            if self.requests > 0.0 {
                return;
            }
        }
    }
}

/// Whether a series belongs to this metric and plugin. From Istio 1.30 on, the name of a WasmPlugin
/// has a suffix. Without `extraStatTags` the label is a part of the metric's name, with `_` for
/// every character that is not a letter or digit.
fn is_of_plugin(metric: &str, plugin: &str, name: &str, labels: &str) -> bool {
    let Some(rest) = name.strip_prefix(metric) else { return false };
    ["", "~istio-translated-wasmplugin"].iter().any(|suffix| {
        let plugin = format!("{plugin}{suffix}");
        let bare = plugin.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        rest.is_empty() && labels.contains(&format!("plugin=\"{plugin}\""))
            || rest == format!("_plugin___{bare}____")
    })
}

/// The outcome of a series of `skycap_requests_total`, with the label as a label or in the name.
fn outcome<'a>(name: &'a str, labels: &'a str) -> Option<&'a str> {
    let label = labels.split_once("outcome=\"").and_then(|(_, rest)| rest.split('"').next());
    label.or_else(|| name.strip_prefix("skycap_requests_total_outcome___")?.strip_suffix("____"))
}

fn is_failure(labels: &str) -> bool {
    let classes = ["response_code=\"5", "response_code_class=\"5"];
    classes.iter().any(|label| labels.contains(label))
}

/// The name, the labels and the value in one line.
fn series(line: &str) -> Option<(&str, &str, f64)> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some((name, labels, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a real agent, with and without Istio's labels.
    const TEXT: &str = r#"
# TYPE skycap_vm_milliseconds_total counter
envoy_server_concurrency{} 2
skycap_vm_milliseconds_total{plugin="istio-system.skycap"} 40000
skycap_vm_milliseconds_total{plugin="istio-system.skycap-canary"} 7000
skycap_vms_total_plugin___istio_system_skycap____{} 3
skycap_table_generation{plugin="istio-system.skycap"} 68994431856480
skycap_requests_total{outcome="routed"} 2
skycap_requests_total{outcome="no_key"} 5
istio_agent_wasm_config_conversion_count{result="fetch_failure"} 1
istio_agent_wasm_config_conversion_count{result="success"} 4
envoy_http_downstream_rq{response_code_class="5xx",http_conn_manager_prefix="outbound_0.0.0.0_80"} 1
envoy_http_downstream_rq{response_code_class="2xx",http_conn_manager_prefix="outbound_0.0.0.0_80"} 6
envoy_http_downstream_rq{response_code_class="2xx",http_conn_manager_prefix="admin"} 90
envoy_http_downstream_rq_time_sum{http_conn_manager_prefix="outbound_0.0.0.0_80"} 21
envoy_http_downstream_rq_time_count{http_conn_manager_prefix="outbound_0.0.0.0_80"} 7
"#;

    #[test]
    fn one_plugin_and_outbound_requests_are_read() {
        let metrics = ProxyMetrics::parse(TEXT, "istio-system.skycap");
        let expected = ProxyMetrics {
            generation: Some(68_994_431_856_480),
            vms: 3.0,
            workers: 2.0,
            vm_seconds: 40.0,
            rejected_tables: 0.0,
            fetch_failures: 1.0,
            decided: 7.0,
            outcomes: [("no_key".to_owned(), 5.0), ("routed".to_owned(), 2.0)].into(),
            requests: 7.0,
            errors: 1.0,
            latency_ms_sum: 21.0,
            latency_ms_count: 7.0,
        };
        assert_eq!(metrics, expected);
        assert_eq!(ProxyMetrics::parse(TEXT, "istio-system.skycap-canary").vm_seconds, 7.0);
        let bare = "skycap_requests_total_outcome___not_replaced____{} 3";
        let outcomes = ProxyMetrics::parse(bare, "istio-system.skycap").outcomes;
        assert_eq!(outcomes, [("not_replaced".to_owned(), 3.0)].into());
    }

    #[test]
    fn istios_metrics_take_precedence_over_envoys() {
        let istio = r#"
istio_requests_total{reporter="source",response_code="200"} 90
istio_requests_total{reporter="source",response_code="503"} 10
istio_requests_total{reporter="destination",response_code="500"} 70
istio_request_duration_milliseconds_sum{reporter="source"} 300
istio_request_duration_milliseconds_count{reporter="source"} 100
"#;
        let metrics = ProxyMetrics::parse(&[TEXT, istio].concat(), "istio-system.skycap");
        assert_eq!((metrics.requests, metrics.errors), (100.0, 10.0));
        assert_eq!((metrics.latency_ms_sum, metrics.latency_ms_count), (300.0, 100.0));
    }
}

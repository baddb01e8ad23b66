//! What one proxy says, read from the text that Prometheus would get.

use serde::Serialize;

/// What one proxy reports of a plugin and of its requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyMetrics {
    /// The generation of the table that serves, as a number; `None` where the module does not run.
    pub generation: Option<u64>,
    /// VMs that have begun to run the module, since the proxy's start.
    pub vms: f64,
    /// The proxy's worker threads.
    pub threads: f64,
    /// Seconds that the VMs have lived together.
    pub lived: f64,
    /// Tables that the module refused.
    pub refused: f64,
    /// Modules that Istio's agent could not get.
    pub fetch_failures: f64,
    /// Requests that the module decided.
    pub decided: f64,
    /// Requests that the proxy sent on for its workload, and how many of them got a 5xx.
    pub requests: f64,
    /// Of those with an answer of 5xx.
    pub errors: f64,
    /// Milliseconds that they took together, and the number that this is the sum of.
    pub milliseconds: (f64, f64),
}

impl ProxyMetrics {
    /// Reads it from the text that Prometheus would get.
    #[must_use]
    pub fn parse(text: &str, plugin: &str) -> Self {
        let mut report = Self::default();
        for (name, labels, value) in text.lines().filter_map(series) {
            let has = |label: &str| labels.contains(label);
            let of_plugin = |metric: &str| is_of_plugin(metric, plugin, name, labels);
            if of_plugin("skycap_table_generation") {
                report.generation = Some(value as u64);
            } else if of_plugin("skycap_vms_total") {
                report.vms += value;
            } else if of_plugin("skycap_vm_milliseconds_total") {
                report.lived += value / 1000.0;
            } else if of_plugin("skycap_tables_refused_total") {
                report.refused += value;
            } else if name == "envoy_server_concurrency" {
                report.threads = value;
            } else if name.starts_with("skycap_requests_total") {
                report.decided += value;
            } else if name == "istio_agent_wasm_config_conversion_count"
                && has("result=\"fetch_failure\"")
            {
                report.fetch_failures += value;
            }
        }
        report.read_requests(text);
        report
    }

    /// What was added since `before`; counters begin anew with their proxy.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.requests <= self.requests) else {
            return self.clone();
        };
        Self {
            generation: self.generation,
            vms: self.vms - before.vms,
            threads: self.threads,
            lived: self.lived - before.lived,
            refused: self.refused - before.refused,
            fetch_failures: self.fetch_failures - before.fetch_failures,
            decided: self.decided - before.decided,
            requests: self.requests - before.requests,
            errors: self.errors - before.errors,
            milliseconds: (
                self.milliseconds.0 - before.milliseconds.0,
                self.milliseconds.1 - before.milliseconds.1,
            ),
        }
    }

    /// Istio's own metrics, or where the proxy has none Envoy's.
    fn read_requests(&mut self, text: &str) {
        let sources = [
            ("istio_requests_total", "istio_request_duration_milliseconds", "reporter=\"source\""),
            (
                // Istio's bootstrap makes a label of `_5xx`, and leaves nothing of `_xx`.
                "envoy_http_downstream_rq",
                "envoy_http_downstream_rq_time",
                "http_conn_manager_prefix=\"outbound_",
            ),
        ];
        for (requests, duration, outbound) in sources {
            let (sum, count) = (format!("{duration}_sum"), format!("{duration}_count"));
            let series = text.lines().filter_map(series);
            for (name, labels, value) in series.filter(|(_, labels, _)| labels.contains(outbound)) {
                if name == requests {
                    self.requests += value;
                    self.errors += if is_failure(labels) { value } else { 0.0 };
                } else if name == sum {
                    self.milliseconds.0 += value;
                } else if name == count {
                    self.milliseconds.1 += value;
                }
            }
            if self.requests > 0.0 {
                return;
            }
        }
    }
}

/// Whether a series is of this metric and plugin. A WasmPlugin has a longer name from Istio 1.30 on,
/// and without `extraStatTags` a label stands in the name, with `_` for all but letters and digits.
fn is_of_plugin(metric: &str, plugin: &str, name: &str, labels: &str) -> bool {
    let Some(rest) = name.strip_prefix(metric) else { return false };
    ["", "~istio-translated-wasmplugin"].iter().any(|suffix| {
        let plugin = format!("{plugin}{suffix}");
        let bare = plugin.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        rest.is_empty() && labels.contains(&format!("plugin=\"{plugin}\""))
            || rest == format!("_plugin___{bare}____")
    })
}

fn is_failure(labels: &str) -> bool {
    let classes = ["response_code=\"5", "response_code_class=\"5"];
    classes.iter().any(|label| labels.contains(label))
}

/// Name, labels and value of one line of Prometheus' text.
fn series(line: &str) -> Option<(&str, &str, f64)> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some((name, labels, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real agent wrote it, with Istio's labels and without.
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
    fn a_report_is_of_one_plugin_and_of_requests_that_go_out() {
        let report = ProxyMetrics::parse(TEXT, "istio-system.skycap");
        let wanted = ProxyMetrics {
            generation: Some(68_994_431_856_480),
            vms: 3.0,
            threads: 2.0,
            lived: 40.0,
            refused: 0.0,
            fetch_failures: 1.0,
            decided: 7.0,
            requests: 7.0,
            errors: 1.0,
            milliseconds: (21.0, 7.0),
        };
        assert_eq!(report, wanted);
        assert_eq!(ProxyMetrics::parse(TEXT, "istio-system.skycap-canary").lived, 7.0);
    }

    #[test]
    fn istios_own_metrics_come_first() {
        let istio = r#"
istio_requests_total{reporter="source",response_code="200"} 90
istio_requests_total{reporter="source",response_code="503"} 10
istio_requests_total{reporter="destination",response_code="500"} 70
istio_request_duration_milliseconds_sum{reporter="source"} 300
istio_request_duration_milliseconds_count{reporter="source"} 100
"#;
        let report = ProxyMetrics::parse(&[TEXT, istio].concat(), "istio-system.skycap");
        assert_eq!((report.requests, report.errors), (100.0, 10.0));
        assert_eq!(report.milliseconds, (300.0, 100.0));
    }
}

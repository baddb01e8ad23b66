//! The reasons for which a canary is backed out.

/// Why a canary is bad.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The module rejected the table.
    #[error("{pod}: the module rejects the table")]
    TableRejected {
        /// `namespace/name` of the Pod.
        pod: String,
    },
    /// The VMs together ran for less time than has passed.
    #[error(
        "{pod}: a VM of the module has stopped, probably because of a trap: in {passed:.0} s, {vms} VMs \
         ran for only {ran:.0} s in total"
    )]
    VmStopped {
        /// `namespace/name` of the Pod.
        pod: String,
        /// The time that has passed, in seconds.
        passed: f64,
        /// The number of VMs that should run.
        vms: f64,
        /// The time for which they ran, in seconds, summed.
        ran: f64,
    },
    /// Requests were answered, but the module did not decide them.
    #[error("{pod}: the module decided only {decided} of {requests} requests")]
    Bypassed {
        /// `namespace/name` of the Pod.
        pod: String,
        /// The number of requests.
        requests: f64,
        /// The number of requests that the module decided.
        decided: f64,
    },
    /// The module did not start in time.
    #[error("{pod}: {failure}")]
    NotRunning {
        /// `namespace/name` of the Pod.
        pod: String,
        /// Why it does not run.
        failure: StartFailure,
    },
    /// All Pods with the canary's labels are gone.
    #[error("no sidecar has the canary's labels any more")]
    NoSidecars,
    /// The 5xx rate rose. Rates are fractions of the requests.
    #[error(
        "5xx rate {:.1} % (before: {:.1} %, other sidecars: {:.1} %)",
        rate * 100.0,
        before * 100.0,
        others * 100.0
    )]
    Errors {
        /// The canary's rate.
        rate: f64,
        /// The rate in the same sidecars before the trial.
        before: f64,
        /// The rate in other sidecars during the trial.
        others: f64,
    },
    /// The module decides otherwise than the one before it. Shares are fractions of the requests.
    #[error(
        "{:.1} % of the requests have the outcome `{outcome}`, but {:.1} % were expected, as before \
         and in other sidecars",
        share * 100.0,
        expected * 100.0
    )]
    Outcome {
        /// The outcome, as in the counter's label.
        outcome: String,
        /// The share in the canary's sidecars.
        share: f64,
        /// The share before the trial, and what has changed since in other sidecars.
        expected: f64,
    },
    /// The mean latency rose. Latencies are in milliseconds.
    #[error("mean latency {mean:.1} ms (before: {before:.1} ms)")]
    Latency {
        /// The canary's mean latency.
        mean: f64,
        /// The mean latency in the same sidecars before the trial.
        before: f64,
    },
    /// The module decided no request.
    #[error(
        "no requests during the trial, so the module could not be judged; choose workloads with \
         traffic, or a longer --window"
    )]
    NoTraffic,
    /// The module decided requests, but the sidecars have no metrics of their responses.
    #[error(
        "the sidecars report no responses of {decided} requests, so errors would not be seen; enable \
         Istio's metrics, or `proxyStatsMatcher` with `inclusionPrefixes: [http.outbound]`, or decide \
         by `skycap rollout promote`"
    )]
    NoResponses {
        /// The number of requests that the module decided.
        decided: f64,
    },
}

/// Why the module does not run in a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// Istio's agent cannot fetch the module.
    #[error("Istio's agent cannot fetch the module; see the log of the istio-proxy container")]
    NotFetched,
    /// Envoy cannot load the module.
    #[error("Envoy does not load the module; see the log of the istio-proxy container")]
    NotLoaded,
    /// The metrics of the sidecar cannot be read, for this reason.
    #[error("cannot read the sidecar's metrics: {0}")]
    Unknown(String),
}

//! Every name by which a cluster knows skycap: objects, labels, annotations, the field manager.
//!
//! They are part of the contract (README, "Names"): a change of one needs a migration.

/// The namespace of skycap's own objects.
pub const NAMESPACE: &str = "skycap-system";
/// The ConfigMap with the settings.
pub const SETTINGS: &str = "skycap";
/// The ConfigMap that records which module serves which workloads.
pub const ROLLOUT: &str = "skycap-rollout";
/// The ConfigMap with the controller's report.
pub const STATUS: &str = "skycap-status";
/// The Lease by which the replicas of the controller elect a leader.
pub const LEASE: &str = "skycap-controller";
/// The controller's Deployment, ServiceAccount, roles and PodDisruptionBudget.
pub const CONTROLLER: &str = "skycap-controller";
/// The ValidatingAdmissionPolicy on fragments and settings.
pub const FRAGMENTS_POLICY: &str = "skycap-fragments";

/// The WasmPlugin or TrafficExtension with the table.
pub const PLUGIN: &str = "skycap";
/// The plugin of a canary, and the EnvoyFilter that removes [`PLUGIN`] from its workloads.
pub const CANARY: &str = "skycap-canary";
/// The EnvoyFilter with the dispatch route.
pub const DISPATCH_ROUTE: &str = "skycap-dispatch";
/// The EnvoyFilter with the access log.
pub const ACCESS_LOG: &str = "skycap-access-log";
/// The Telemetry that puts baggage on spans.
pub const SPANS: &str = "skycap-spans";

/// The label that makes a ConfigMap one of skycap's.
pub const KIND_LABEL: &str = "skycap.dev/kind";
/// The annotation that lists the keys of an HTTPRoute.
pub const KEYS_ANNOTATION: &str = "skycap.dev/keys";
/// The label that names the owner of an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and skycap's field manager.
pub const MANAGER: &str = "skycap";

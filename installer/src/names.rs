//! The names that skycap uses in a cluster: objects, labels, annotations, the field manager.
//!
//! They are part of the contract: changing one needs a migration.

/// The namespace of skycap's own objects.
pub const NAMESPACE: &str = "skycap-system";
/// The ConfigMap with the settings.
pub const SETTINGS: &str = "skycap";
/// The ConfigMap with the record of a rollout: which module serves which workloads.
pub const ROLLOUT: &str = "skycap-rollout";
/// The ConfigMap with the controller's report.
pub const STATUS: &str = "skycap-status";
/// The Lease with which the replicas of the controller elect a leader.
pub const LEASE: &str = "skycap-controller";
/// The controller's Deployment, Service, ServiceAccount, roles and PodDisruptionBudget.
pub const CONTROLLER: &str = "skycap-controller";
/// The program that moves the messages of a queue, and the first part of the names of its objects.
pub const SPLITTER: &str = "skycap-queue";
/// The label of a splitter's Pods with the name of its queue.
pub const QUEUE_LABEL: &str = "skycap.dev/queue";
/// The roles with what `list`, `explain`, `check` and `status` read, and their bindings.
pub const READER: &str = "skycap-reader";
/// The roles of those who make sandboxes in a namespace, their ServiceAccount and bindings.
pub const SANDBOXES: &str = "skycap-sandboxes";
/// The role of those who send requests into a sandbox through the API server, and its binding.
pub const TESTS: &str = "skycap-tests";
/// The roles by which the controller ends the resources of a namespace, and their bindings.
pub const RESOURCES: &str = "skycap-resources";
/// The label of the Pods of the controller and of splitters; its value is [`CONTROLLER`] or [`SPLITTER`].
pub const APP_LABEL: &str = "app.kubernetes.io/name";
/// The ValidatingAdmissionPolicy on fragments and settings.
pub const FRAGMENTS_POLICY: &str = "skycap-fragments";

/// The ValidatingAdmissionPolicy on what the controller writes.
pub const CONTROLLER_POLICY: &str = "skycap-controller";

/// The WasmPlugin or TrafficExtension with the table.
pub const PLUGIN: &str = "skycap";
/// The canary's plugin, and the EnvoyFilter that removes [`PLUGIN`] from the canary's workloads.
pub const CANARY: &str = "skycap-canary";
/// The EnvoyFilter with the dispatch route.
pub const DISPATCH_ROUTE: &str = "skycap-dispatch";
/// The EnvoyFilter of the edge.
pub const EDGE: &str = "skycap-edge";
/// The EnvoyFilter with the access log.
pub const ACCESS_LOG: &str = "skycap-access-log";
/// The Telemetry that puts baggage on spans.
pub const SPANS: &str = "skycap-spans";

/// The label that makes a ConfigMap a fragment, and names its kind.
pub const KIND_LABEL: &str = "skycap.dev/kind";
/// The label of a resource's objects and Pods with the name of the resource in its sandbox.
pub const RESOURCE_LABEL: &str = "skycap.dev/resource";
/// The label of a sandbox with the name of its owner, for `list`.
pub const OWNER_LABEL: &str = "skycap.dev/owner";
/// The label of a sandbox with the number of its pull request, for `list`.
pub const PULL_REQUEST_LABEL: &str = "skycap.dev/pull-request";
/// The label of a namespace whose Pods have no vote in the verdict on a module, if its value is
/// `false`.
pub const VOTE_LABEL: &str = "skycap.dev/rollout-vote";
/// The annotation with the keys of an HTTPRoute.
pub const KEYS_ANNOTATION: &str = "skycap.dev/keys";
/// The label that names the owner of an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on skycap's objects, and the name of skycap's field manager.
pub const MANAGER: &str = "skycap";

//! Systems of many shapes, each of whose workloads is forked: nothing of the baseline changes, and
//! nothing is left.
//!
//! `tests/data/systems` has the shapes of public demo systems, a file for each. To run this with the
//! systems themselves, name a folder of their manifests, without namespaces: `SYSTEMS=/tmp/systems`.

mod kubelet;
mod snapshot;
mod system;

use std::path::PathBuf;

use anyhow::Context as _;
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{Fixture, manifests::install_kind, run};

use self::{kubelet::Kubelet, system::System};

#[test]
fn forks_change_nothing_of_their_baselines() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.cluster.start_controllers(CONTROLLERS)?;
        // Argo's controller does not run: what it would have written is in the manifests.
        install_kind(fixture, "argoproj.io/v1alpha1", "Rollout").await?;
        let sync = ["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"];
        fixture.skycap(&sync).await?;
        let kubelet = Kubelet::start(fixture.cluster.client.clone()).await?;
        let given = std::env::var_os("SYSTEMS").map(PathBuf::from);
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/systems");
        let folder = given.clone().unwrap_or_else(|| own.into());
        let mut refused = Vec::new();
        for system in System::read_all(&folder)? {
            let refusals = system.hold(fixture).await;
            let refusals = refusals.with_context(|| format!("system {}", system.name));
            match (refusals, &given) {
                (Ok(refusals), _) => refused.extend(refusals),
                (Err(error), Some(_)) => println!("FAILED {error:#}"),
                (Err(error), None) => return Err(error),
            }
        }
        drop(kubelet);
        if given.is_none() {
            anyhow::ensure!(refused == REFUSED, "{refused:?}");
        }
        Ok(())
    })
}

/// The workloads that cannot be forked.
const REFUSED: [&str; 2] = ["rollout/shapes", "daemonset/traces"];
/// Those that make Pods, count them, or delete what has lost its owner.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
                           daemonset-controller,endpointslice-controller,disruption-controller,\
                           horizontal-pod-autoscaler-controller,garbage-collector-controller,\
                           persistentvolumeclaim-protection-controller";

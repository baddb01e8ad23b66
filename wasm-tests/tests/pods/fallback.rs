//! What requests get while a sandbox's Pod goes and comes back: by `onUnavailable: baseline`, the sandbox
//! or the baseline.

use std::time::Instant;

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use skycap_tests::{
    fixture::{
        Fixture,
        manifests::sandbox,
        pods::{BASELINE_PATH, Load, path_from_outside, with_pods},
    },
    process::{process_ids_of, send_signal},
};

#[test]
fn the_baseline_serves_while_the_sandbox_cannot() -> anyhow::Result<()> {
    with_pods("fallback::the_baseline_serves_while_the_sandbox_cannot", async |fixture| {
        fixture.install_skycap().await?;
        fixture.open_edge().await?;
        fixture.add_workload("cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "the sandbox").await?;
        fixture.path_becomes("the sandbox", &[KEY], &[BASELINE_PATH], PR_1).await?;
        for event in [
            Event::Deleted,
            Event::Unready,
            Event::ScaledToZero,
            Event::NewImage,
            Event::Crashed,
            Event::OutOfMemory,
        ] {
            goes_and_comes(fixture, event).await?;
        }
        Ok(())
    })
}

/// What happens to the only Pod of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Deleted,
    Unready,
    ScaledToZero,
    NewImage,
    Crashed,
    OutOfMemory,
}

impl Event {
    /// How many requests may get neither the sandbox nor the baseline.
    ///
    /// The table and the endpoints reach a proxy in one push of istiod, but one after the other: a
    /// request in between finds no endpoint. A process that ends without a word is a Pod that is ready
    /// until the kubelet sees it. Until then, the sandbox's own proxy answers with 503, as that of every
    /// Service with one Pod does.
    const fn lost(self) -> usize {
        match self {
            Self::Deleted | Self::Unready | Self::ScaledToZero => 5,
            Self::NewImage => 0,
            Self::Crashed | Self::OutOfMemory => usize::MAX,
        }
    }
}

async fn goes_and_comes(fixture: &Fixture, event: Event) -> anyhow::Result<()> {
    let is_alone = async |_: &Fixture| Ok(processes()?.len() == 1);
    fixture.until("only one process of the sandbox", is_alone).await?;
    let load = Load::start(fixture, &[KEY]).await?;
    let (begun, before) = (Instant::now(), process()?);
    happens(fixture, event).await.with_context(|| format!("{event:?}"))?;
    match event {
        Event::Deleted | Event::Unready | Event::ScaledToZero => {
            // Once: a Deployment has a new Pod soon.
            while path_from_outside(fixture, &[KEY]).await? != BASELINE_PATH {
                let is_late = begun.elapsed() > fixture.patience;
                anyhow::ensure!(!is_late, "{event:?}: no request falls back");
            }
            println!("{event:?}: the baseline serves after {} ms", begun.elapsed().as_millis());
            ends(fixture, event).await?;
        }
        // The kubelet may start the container again before any request has fallen back.
        Event::Crashed | Event::OutOfMemory => {
            let is_new = async |_: &Fixture| Ok(process()?.is_some_and(|id| Some(id) != before));
            fixture.until("another process", is_new).await?;
        }
        Event::NewImage => {}
    }
    is_served_again(fixture).await?;
    let answers = load.stop().await?;
    answers.check_losses(&format!("{event:?}"), &[PR_1, BASELINE_PATH], event.lost())
}

/// A container that has started again is not ready at once, and Kubernetes notices that late. So what
/// looks settled may not be.
async fn is_served_again(fixture: &Fixture) -> anyhow::Result<()> {
    let is_sandbox =
        async |fixture: &Fixture| Ok(path_from_outside(fixture, &[KEY]).await? == PR_1);
    for _ in 0..3 {
        if fixture.until("the sandbox serves again", is_sandbox).await.is_ok() {
            break;
        }
    }
    fixture.is_available("shop", "cart-pr-1").await?;
    fixture.until("the sandbox serves again", is_sandbox).await.map(drop)
}

async fn happens(fixture: &Fixture, event: Event) -> anyhow::Result<()> {
    match event {
        Event::Deleted => {
            let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), "shop");
            for pod in pods.list(&ListParams::default().labels("app=cart-pr-1")).await? {
                pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
            }
            Ok(())
        }
        Event::Unready => signal_process("USR1"),
        Event::ScaledToZero => patch(fixture, json!({"replicas": 0})).await,
        Event::NewImage => {
            let annotations = json!({"example.com/image": "2"});
            patch(fixture, json!({"template": {"metadata": {"annotations": annotations}}})).await
        }
        Event::Crashed => signal_process("KILL"),
        Event::OutOfMemory => signal_process("USR2"),
    }
}

/// Ends what does not end by itself.
async fn ends(fixture: &Fixture, event: Event) -> anyhow::Result<()> {
    match event {
        // The kubelet starts the container again, and then its probe succeeds.
        Event::Unready => signal_process("KILL"),
        Event::ScaledToZero => patch(fixture, json!({"replicas": 1})).await,
        _ => Ok(()),
    }
}

/// Sends a signal to the sandbox's process: the node is this machine.
fn signal_process(signal: &str) -> anyhow::Result<()> {
    send_signal(signal, &process()?.context("the sandbox has no process")?)
}

fn process() -> anyhow::Result<Option<String>> {
    Ok(processes()?.into_iter().next())
}

/// More than one while a Pod takes the place of another.
fn processes() -> anyhow::Result<Vec<String>> {
    process_ids_of(&["serve", "cart-pr-1", "8080"])
}

async fn patch(fixture: &Fixture, spec: Value) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(fixture.cluster.client.clone(), "shop");
    let patch = Patch::Merge(json!({"spec": spec}));
    deployments.patch("cart-pr-1", &PatchParams::default(), &patch).await?;
    Ok(())
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const PR_1: &str = "frontend > cart-pr-1 > pricing";

//! Resources on real engines: what a sandbox writes is its own, and nothing of it is left.

mod postgres;

use std::{fs, path::PathBuf, time::Instant};

use kube::{Api, ResourceExt as _, api::ListParams, core::DynamicObject};
use serde_json::Value;
use skycap::{
    environment::{labels::SANDBOX_LABEL, rights},
    objects::resource,
};
use skycap_tests::{
    cluster::Image,
    fixture::{Fixture, pods::with_databases},
    workspace,
};

#[test]
fn a_sandbox_writes_into_databases_of_its_own() -> anyhow::Result<()> {
    let name = "resources::a_sandbox_writes_into_databases_of_its_own";
    with_databases(name, async |fixture| {
        apply(fixture, data("postgres.yaml")).await?;
        for example in ["postgres.yaml", "postgres-template.yaml"] {
            apply(fixture, example_of(example)).await?;
        }
        for name in ["orders-db", "orders"] {
            fixture.is_available("shop", name).await?;
        }
        let before = postgres::rows(fixture).await?;
        postgres::a_pod_of_its_own(fixture).await?;
        postgres::a_copy_of_a_template(fixture).await?;
        postgres::a_job_that_fails(fixture).await?;
        down(fixture, "pr-9").await?;
        let after = postgres::rows(fixture).await?;
        anyhow::ensure!(before == after, "the baseline had {before}, and has {after}");
        nothing_is_left(fixture).await
    })
}

fn data(file: &str) -> PathBuf {
    workspace::root().join("wasm-tests/tests/data/resources").join(file)
}

fn example_of(file: &str) -> PathBuf {
    workspace::root().join("deploy/examples/resources").join(file)
}

/// Applies the objects of a file, with the images of the test.
async fn apply(fixture: &Fixture, file: PathBuf) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?.replace("postgres:17", &Image::reference("postgres"));
    // A Job waits longer before each try.
    let text = text.replace("backoffLimit: 3", "backoffLimit: 0");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    for object in objects {
        fixture.apply(&object).await?;
    }
    Ok(())
}

/// What `skycap render --role resources -n shop` prints.
async fn permit_jobs(fixture: &Fixture) -> anyhow::Result<()> {
    for object in rights::resources("shop") {
        fixture.apply(&object).await?;
    }
    Ok(())
}

/// Opens a sandbox with these resources and forks, as in a file.
async fn up(fixture: &Fixture, sandbox: &str, rest: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), format!("sandbox: {sandbox}\nnamespace: shop\n{rest}"))?;
    let begun = Instant::now();
    fixture.skycap(&["up", "-f", &file.path().to_string_lossy()]).await?;
    println!("up {sandbox}: {} ms", begun.elapsed().as_millis());
    Ok(())
}

async fn down(fixture: &Fixture, sandbox: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    fixture.skycap(&["down", sandbox, "-n", "shop"]).await?;
    println!("down {sandbox}: {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// Of any kind that a resource or a fork has.
async fn nothing_is_left(fixture: &Fixture) -> anyhow::Result<()> {
    let is_empty = async |fixture: &Fixture| {
        let mut left = Vec::new();
        for (api_version, kind) in KINDS {
            let client = fixture.cluster.client.clone();
            let resource = resource(api_version, kind);
            let api = Api::<DynamicObject>::namespaced_with(client, "shop", &resource);
            let list = api.list(&ListParams::default().labels(SANDBOX_LABEL)).await?;
            left.extend(list.iter().map(|one| format!("{kind} {}", one.name_any())));
        }
        Ok(left.is_empty())
    };
    fixture.until("nothing is left", is_empty).await.map(drop)
}

const KINDS: [(&str, &str); 9] = [
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
];

//! `skycap status` on a cluster with one rejected fragment: the README shows this output.

use std::{fs, path::Path};

use regex::Regex;
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        istio_shop::{IstioShop, pricing_becomes},
        manifests::{endpoints, fragment, sandbox, service},
        module_path, run,
    },
};

/// Compares with `tests/data/status.txt`. `UPDATE=1` writes the file.
#[test]
fn status_prints_what_the_readme_shows() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module_path()?.display());
        let _controller = Controller::start(&fixture.cluster, POD, &[]).await?;
        let _shop = IstioShop::without_skycap(fixture, &["frontend", "cart", "pricing"]).await?;
        apply_fragments(fixture).await?;
        pricing_becomes(fixture, "cart", &["pricing"], "pricing-pr-2").await?;
        let is_current = async |fixture: &Fixture| {
            let status = fixture.skycap_status(&["status"]).await?;
            Ok(status.contains("3 of 3"))
        };
        fixture.until("all sidecars serve the table", is_current).await?;
        // A rejected fragment is a problem: the exit code is 1.
        let status = fixture.skycap_fails(&["status"], 1).await?;
        let status = normalize(&status)?;
        println!("{status}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/status.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &status)?;
        }
        let kept = fs::read_to_string(&path)?;
        anyhow::ensure!(
            status == kept,
            "`skycap status` prints another text than {}; `UPDATE=1` writes it\n{status}",
            path.display()
        );
        Ok(())
    })
}

/// Two sandboxes, a group of both, and a sandbox with a mistake.
async fn apply_fragments(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
    fixture.apply(&fragment("group", "release-42", json!({"members": "pr-1, pr-2"}))).await?;
    fixture.apply(&service("checkout")).await?;
    fixture.apply(&endpoints("checkout", true)).await?;
    // The admission policy accepts it, because it does not parse the YAML of routes.
    fixture.apply(&sandbox("pr-8", json!({"routes": "checkout: Checkout-PR-8"}))).await
}

/// Replaces what differs between two runs: the generation, and the seconds since the renewal. The
/// Pod's name is an argument of this test's controller.
fn normalize(status: &str) -> anyhow::Result<String> {
    let status = Regex::new(r"\b[0-9a-f]{12}\b")?.replace_all(status, GENERATION);
    let status = Regex::new(r"\b\d+ s ago\b")?.replace_all(&status, "1 s ago");
    Ok(format!("{}\n", status.trim_end()))
}

const POD: &str = "skycap-controller-7d9f-x2";
/// The generation of `deploy/examples`, as in the README's other outputs.
const GENERATION: &str = "4049a2f932b6";

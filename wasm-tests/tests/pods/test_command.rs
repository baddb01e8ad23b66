//! `skycap test --forward`: programs that know nothing of skycap reach a sandbox from a laptop.

use std::{process::Stdio, time::Instant};

use anyhow::Context as _;
use hyper::HeaderMap;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use skycap_tests::{
    client,
    cluster::browser,
    fixture::{Fixture, manifests::sandbox, pods::with_pods},
    shop::Visit,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[test]
fn a_command_tests_its_sandbox() -> anyhow::Result<()> {
    with_pods("test_command::a_command_tests_its_sandbox", async |fixture| {
        fixture.install_skycap().await?;
        fixture.add_workload("cart-pr-1").await?;
        fixture.add_workload("frontend-pr-2").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "frontend: frontend-pr-2"}))).await?;
        for script in [CURL, CURL_HTTP2, UNITTEST] {
            let printed = test(fixture, "pr-1", script).await?;
            check_visits(&printed, &PR_1, 1).with_context(|| script.to_owned())?;
        }
        a_browser_shows_the_fork(fixture).await?;
        let foreign = test(fixture, "pr-1", CURL_WITH_BAGGAGE).await?;
        let carriers = "baggage: sandbox=pr-1,a=1;b, c = %20";
        anyhow::ensure!(foreign.contains(carriers), "not `{carriers}`: {foreign}");
        // The first hop too goes to the sandbox, though no sidecar decides it.
        let (first, second) =
            tokio::try_join!(test(fixture, "pr-1", TWENTY), test(fixture, "pr-2", TWENTY))?;
        check_visits(&first, &PR_1, 20)?;
        check_visits(&second, &PR_2, 20)?;
        another_pod_takes_over(fixture).await
    })
}

/// Of the page, and of a request that the page makes.
async fn a_browser_shows_the_fork(fixture: &Fixture) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let browser = browser()?.in_shell(folder.path());
    let script =
        format!("{browser} --virtual-time-budget=10000 --dump-dom $SKYCAP_URL_FRONTEND/page");
    let begun = Instant::now();
    let page = test(fixture, "pr-2", &script).await?;
    println!("a browser: {} ms\n{page}", begun.elapsed().as_millis());
    for text in ["<title>frontend-pr-2</title>", r#""path":["frontend-pr-2","cart","pricing"]"#] {
        anyhow::ensure!(page.contains(text), "no `{text}` in the page:\n{page}");
    }
    Ok(())
}

/// What a script prints that `skycap test` runs.
async fn test(fixture: &Fixture, sandbox: &str, script: &str) -> anyhow::Result<String> {
    let args = ["test", sandbox, "--forward", "frontend:80", "--", "sh", "-ec", script];
    fixture.skycap(&args).await
}

/// Checks that each line is an answer to a request that has visited these workloads.
fn check_visits(printed: &str, path: &[&str], count: usize) -> anyhow::Result<()> {
    let visits: Vec<Visit> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let is_right = visits.len() == count && visits.iter().all(|visit| visit.path == path);
    anyhow::ensure!(is_right, "expected {count} times {path:?}: {printed}");
    Ok(())
}

/// The port stays open while the Pod behind it is replaced.
async fn another_pod_takes_over(fixture: &Fixture) -> anyhow::Result<()> {
    let args =
        ["test", "pr-1", "--forward", "frontend:80", "-o", "json", "--", "sleep", "infinity"];
    let mut process = fixture.command(&args)?.stdout(Stdio::piped()).spawn()?;
    let stdout = process.stdout.take().context("no stdout")?;
    let line = BufReader::new(stdout).lines().next_line().await?.context("no line")?;
    let prepared: Value = serde_json::from_str(&line)?;
    let url = prepared["variables"]["SKYCAP_URL_FRONTEND"].as_str().context("no URL")?;
    let address = url.strip_prefix("http://").context("not HTTP")?.parse()?;
    let reaches = async |_: &Fixture| {
        let answer = client::send(address, "frontend", &HeaderMap::new()).await?;
        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        Ok(check_visits(&answer.body, &PR_1, 1).is_ok())
    };
    fixture.until("the forward reaches the sandbox", reaches).await?;
    let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), "shop");
    let of_frontend = ListParams::default().labels("app=frontend");
    let at_once = DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() };
    for pod in pods.list(&of_frontend).await? {
        let name = pod.name_any();
        pods.delete(&name, &at_once).await?;
        let is_gone = async |_: &Fixture| Ok(pods.get_opt(&name).await?.is_none());
        fixture.until("the Pod is gone", is_gone).await?;
    }
    fixture.is_available("shop", "frontend").await?;
    fixture.until("another Pod takes over", reaches).await?;
    Ok(())
}

const CURL: &str = "curl -sSf $SKYCAP_URL_FRONTEND";
const CURL_HTTP2: &str = "curl -sSf --http2-prior-knowledge $SKYCAP_URL_FRONTEND_80";
const CURL_WITH_BAGGAGE: &str =
    "curl -sSf -H 'baggage: a=1;b, c = %20' -H 'baggage: sandbox=pr-2' $SKYCAP_URL_FRONTEND";
const TWENTY: &str = "for i in $(seq 20); do curl -sSf $SKYCAP_URL_FRONTEND; echo; done";
/// A runner that knows the address of what it tests, and nothing else.
const UNITTEST: &str = "cd $(mktemp -d); cat > test_shop.py <<'END'
import json, os, unittest, urllib.request

class Shop(unittest.TestCase):
    def test_the_cart_is_on_the_path(self):
        with urllib.request.urlopen(os.environ['BASE_URL']) as answer:
            visit = json.load(answer)
        self.assertEqual(visit['path'][0], 'frontend')
        print(json.dumps(visit))
END
BASE_URL=$SKYCAP_URL_FRONTEND python3 -m unittest -q";
const PR_1: [&str; 3] = ["frontend", "cart-pr-1", "pricing"];
const PR_2: [&str; 3] = ["frontend-pr-2", "cart", "pricing"];

//! A pull request from `opened` to `closed`, as GitHub's runner sees it: act runs the example workflow
//! with the composite action, and both use the real command, with the rights of
//! `skycap render --role sandboxes`. Its comments go to a server of the tests.

mod gitlab;

use std::{ffi::OsString, fs, path::PathBuf, process::Output};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind, environment::rights::sandboxes, names::SANDBOXES,
    table::meshes::Meshes,
};
use skycap_tests::{
    cluster::{Controller, act, program},
    code_host::{CodeHost, REPOSITORY, TOKEN},
    fixture::{Fixture, manifests::service, run},
    workspace,
};
use tokio::process::Command;

use super::rights::shop::workload;

#[test]
fn a_pull_request_has_a_sandbox_and_one_comment_until_it_is_closed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (_controller, host) = open_shop(fixture).await?;
        host.add("looks good", false);
        let runner = Runner::new(fixture, &host).await?;
        let mut comments = Vec::new();
        for (action, commit, image) in [
            ("opened", "1111111", Some("cart:1111111")),
            ("synchronize", "2222222", Some("cart:2222222")),
            ("closed", "2222222", None),
            ("reopened", "3333333", Some("cart:3333333")),
            ("closed", "3333333", None),
            // It was merged, and the pull request is closed for a second time.
            ("closed", "3333333", None),
        ] {
            let log = runner.run(action, commit, REPOSITORY).await?;
            let log = String::from_utf8(log.stdout)?;
            anyhow::ensure!(fork_of(fixture, "pr-9").await?.as_deref() == image, "{action}: {log}");
            comments = host.comments();
            anyhow::ensure!(comments.len() == 2, "{action}: {comments:?}");
            let said = &comments[1].body;
            let expected = match image {
                Some(image) => vec![image, "deployment/cart", "baggage: sandbox=pr-9", "passed"],
                None => vec!["### Sandbox `pr-9`: closed"],
            };
            for text in expected {
                anyhow::ensure!(said.contains(text), "{action}: no `{text}` in {said}");
            }
            anyhow::ensure!(!log.contains(TOKEN), "{action}: the token is in the log");
        }
        let denials = fixture.cluster.denials_since(0)?;
        anyhow::ensure!(denials.is_empty(), "the rights are not enough: {denials:?}");

        let (requests, log) =
            (host.requests(), runner.run("opened", "4444444", "stranger/cart").await?);
        let log = String::from_utf8(log.stdout)?;
        anyhow::ensure!(log.contains("a pull request from a fork gets no sandbox"), "{log}");
        anyhow::ensure!(fork_of(fixture, "pr-9").await?.is_none(), "a fork has a sandbox: {log}");
        anyhow::ensure!((host.comments(), host.requests()) == (comments, requests), "{log}");
        Ok(())
    })
}

/// A repository with the example workflow, and what its runner needs.
struct Runner {
    act: PathBuf,
    /// The home of the runner, and beside it the repository.
    folder: tempfile::TempDir,
    kubeconfig: String,
    api: String,
}

impl Runner {
    async fn new(fixture: &Fixture, host: &CodeHost) -> anyhow::Result<Self> {
        let token = account(fixture).await?;
        let kubeconfig = fs::read_to_string(fixture.cluster.kubeconfig(&token)?)?;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join("repository").join(name);
        let ci = workspace::root().join("deploy/ci");
        for name in ["deploy/ci", ".github/workflows"] {
            fs::create_dir_all(path(name))?;
        }
        fs::copy(ci.join("action.yml"), path("deploy/ci/action.yml"))?;
        fs::write(path("skycap.yaml"), SPEC)?;
        let mut workflow = fs::read_to_string(ci.join("example.yml"))?;
        for (example, here) in HERE {
            anyhow::ensure!(
                workflow.matches(example).count() == 1,
                "no `{example}` in example.yml"
            );
            workflow = workflow.replace(example, here);
        }
        fs::write(path(".github/workflows/preview.yml"), workflow)?;
        Ok(Self { act: act()?, folder, kubeconfig, api: host.url() })
    }

    /// Runs the workflow for this event of pull request 9, whose branch is in the repository `from`.
    async fn run(&self, action: &str, commit: &str, from: &str) -> anyhow::Result<Output> {
        let head = json!({"ref": "change", "sha": commit, "repo": {"full_name": from}});
        let event = json!({
            "action": action,
            "number": 9,
            "pull_request": {"number": 9, "head": head, "base": {"ref": "main"}},
            "repository": {"full_name": REPOSITORY, "default_branch": "main"},
        });
        let (home, repository) = (self.folder.path(), self.folder.path().join("repository"));
        let path = home.join("event.json");
        fs::write(&path, event.to_string())?;
        let mut command = Command::new(&self.act);
        if from == REPOSITORY {
            // A fork's pull request gets no secrets.
            command.args(["--secret", "KUBECONFIG_DATA"]).env("KUBECONFIG_DATA", &self.kubeconfig);
        }
        let output = command
            .args(["pull_request", "--platform", "ubuntu-latest=-self-hosted", "--eventpath"])
            .arg(&path)
            // Its cache would listen on an address of the network, and here is none.
            .args(["--no-cache-server", "--artifact-server-addr", "127.0.0.1"])
            .args(["--secret", "GITHUB_TOKEN"])
            .args(["--env", &format!("GITHUB_API_URL={}", self.api)])
            .args(["--env", &format!("GITHUB_REPOSITORY={REPOSITORY}")])
            .current_dir(repository)
            .env("HOME", home)
            .env("PATH", path_with_skycap()?)
            .env("GITHUB_TOKEN", TOKEN)
            .kill_on_drop(true)
            .output()
            .await?;
        anyhow::ensure!(
            output.status.success(),
            "{action}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }
}

/// A shop with a cart, skycap's controller, the garbage collector, and a host of pull requests.
async fn open_shop(fixture: &mut Fixture) -> anyhow::Result<(Controller, CodeHost)> {
    let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
    fixture.cluster.start_controllers("garbage-collector-controller")?;
    for object in cart() {
        fixture.apply(&object).await?;
    }
    Ok((controller, CodeHost::start().await?))
}

/// A Deployment with its Service.
fn cart() -> [Value; 2] {
    let mut cart = service("cart");
    cart["spec"]["selector"] = json!({"app": "cart"});
    [workload("Deployment", "cart"), cart]
}

/// The token of an account that may make sandboxes in namespace `shop`, and nothing else.
async fn account(fixture: &Fixture) -> anyhow::Result<String> {
    for object in sandboxes("shop", &Meshes::default(), "istio-system") {
        fixture.apply(&object).await?;
    }
    fixture.cluster.token_of("shop", SANDBOXES).await
}

/// The command is found first.
fn path_with_skycap() -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = program().parent().map(PathBuf::from);
    Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?)
}

/// The image of the sandbox's fork; `None` if nothing of the sandbox is there.
async fn fork_of(fixture: &Fixture, sandbox: &str) -> anyhow::Result<Option<String>> {
    let (client, name) = (&fixture.cluster.client, format!("cart-{sandbox}"));
    let fork = Api::<Deployment>::namespaced(client.clone(), "shop").get_opt(&name).await?;
    let service = Api::<Service>::namespaced(client.clone(), "shop").get_opt(&name).await?;
    let map = Api::<ConfigMap>::namespaced(client.clone(), "shop").get_opt(sandbox).await?;
    anyhow::ensure!(
        [service.is_some(), map.is_some()] == [fork.is_some(); 2],
        "a part of the sandbox is left: {service:?} {map:?}"
    );
    let Some(fork) = fork else { return Ok(None) };
    let image = json!(fork)["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    anyhow::ensure!(fork.owner_references().len() == 1, "the fork has no owner");
    let image = image.as_str().unwrap_or_default();
    Ok(Some(image.trim_start_matches("registry.example.com/").to_owned()))
}

/// The sandbox file of the repository.
const SPEC: &str = "\
sandbox: pr-${PR}
namespace: shop
ttl: 72h
forks:
  cart: {image: \"${IMAGE}\"}
";

/// What is different from the example: the action is the one of this checkout, the command is on PATH,
/// no kubelet makes a fork ready, and so no test can send a request to it.
const HERE: [(&str, &str); 3] = [
    (concat!("OWNER/skycap/deploy/ci@v", env!("CARGO_PKG_VERSION")), "./deploy/ci"),
    (concat!("version: ", env!("CARGO_PKG_VERSION")), "wait: \"false\""),
    (
        "skycap test \"$SANDBOX\" --namespace \"$NAMESPACE\" --forward frontend:80 -- ./end-to-end-tests.sh",
        "test \"$SANDBOX in $NAMESPACE\" = \"pr-9 in shop\"",
    ),
];

//! What a developer can ask skycap, who has the role `edit` in his namespace and nothing else.

use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{endpoints, sandbox, service},
        run,
    },
};

#[test]
fn a_developer_may_ask_about_his_sandboxes() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        for name in ["cart", "cart-pr-1"] {
            fixture.apply(&service(name)).await?;
            fixture.apply(&endpoints(name, true)).await?;
        }
        fixture
            .apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1\nnobody: nobody-pr-1"})))
            .await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        let reported = async |f: &Fixture| Ok(f.summary().await?.warnings > 0);
        fixture.until("a report", reported).await?;
        let token = developer(fixture).await?;
        for (args, _) in COMMANDS {
            let (code, output) = ask(fixture, &token, args).await?;
            let is_one_line = output.trim_end().lines().count() == 1;
            anyhow::ensure!(
                code == 1
                    && is_one_line
                    && output.ends_with("ask an administrator for this permission\n"),
                "without the role, {args:?} exits with {code}:\n{output}"
            );
        }
        let install =
            ["install", "--plugin", "WasmPlugin", "--image", "skycap:test", "--wait", "0"];
        let flags = ["--module-url", "file:///skycap.wasm", "--readers", "system:authenticated"];
        fixture.skycap(&[&install[..], &flags].concat()).await?;
        for (args, expected) in COMMANDS {
            let (code, output) = ask(fixture, &token, args).await?;
            anyhow::ensure!(
                code <= 1 && output.contains(expected) && !output.contains("error"),
                "with the role, {args:?} exits with {code}:\n{output}"
            );
        }
        the_rest_is_told(fixture, &token).await
    })
}

/// What a developer may not read is not waited for, but told; what is not served is told with its reason.
async fn the_rest_is_told(fixture: &Fixture, token: &str) -> anyhow::Result<()> {
    for (args, code, expected) in [
        (
            &["wait", "pr-2", "-n", "shop"][..],
            0,
            "the sidecars of other namespaces were not checked",
        ),
        (&["wait", "pr-1", "-n", "shop", "--timeout", "1s"], 1, "there is no Service `nobody`"),
        (&["wait", "pr-3", "-n", "shop"], 1, "no sandbox or group shop/pr-3; did you mean `pr-"),
        (&["test", "pr-3", "-n", "shop", "--", "true"], 1, "no sandbox or group shop/pr-3"),
    ] {
        let (found, output) = ask(fixture, token, args).await?;
        let is_told = found == code && output.contains(expected);
        anyhow::ensure!(is_told, "{args:?} exits with {found}:\n{output}");
    }
    Ok(())
}

/// Commands, and what their output has for who may run them.
const COMMANDS: [(&[&str], &str); 6] = [
    (&["list", "-n", "shop"], "cart-pr-1"),
    (&["explain", "--to", "cart.shop:80", "-H", "baggage: sandbox=pr-1"], "cart-pr-1.shop"),
    (&["check", "-n", "shop"], "applies to no request"),
    (&["status"], "2 keys"),
    (&["wait", "pr-2", "-n", "shop"], "shop/pr-2 is served with key pr-2"),
    (&["test", "pr-2", "-n", "shop", "--", "printenv", "BAGGAGE"], "sandbox=pr-2"),
];

/// The token of a user with the ClusterRole `edit` in namespace `shop`.
async fn developer(fixture: &Fixture) -> anyhow::Result<String> {
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "developer", "namespace": "shop"});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    fixture.apply(&account).await?;
    // What `edit` consists of: the controller that puts it together does not run here.
    for name in ["system:aggregate-to-edit", "system:aggregate-to-view"] {
        fixture
            .apply(&json!({
                "apiVersion": format!("{group}/v1"),
                "kind": "RoleBinding",
                "metadata": {"name": name, "namespace": "shop"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "namespace": "shop", "name": "developer"}],
            }))
            .await?;
    }
    fixture.cluster.token_of("shop", "developer").await
}

/// Runs a command with this token. Returns its exit code, and its stdout and stderr.
async fn ask(fixture: &Fixture, token: &str, args: &[&str]) -> anyhow::Result<(i32, String)> {
    let output = fixture.command_with(token, args)?.output().await?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    Ok((output.status.code().unwrap_or(-1), text))
}

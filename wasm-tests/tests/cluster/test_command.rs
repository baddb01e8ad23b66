//! What `skycap test` passes on: variables to its command, signals, and the exit code back.

use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{endpoints, sandbox, service},
        run,
    },
    process::send_signal,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
};

#[test]
fn a_command_runs_as_if_it_were_alone() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        for name in ["cart", "cart-pr-1"] {
            fixture.apply(&service(name)).await?;
            fixture.apply(&endpoints(name, true)).await?;
        }
        let data = json!({"routes": "cart: cart-pr-1", "key": "key-of-pr-1"});
        fixture.apply(&sandbox("pr-1", data)).await?;
        for (script, code) in [("true", 0), ("exit 7", 7), ("kill -KILL $$", 137)] {
            exits_with(fixture, &["sh", "-c", script], code).await?;
        }
        exits_with(fixture, &["/no/such/command"], 127).await?;
        exits_with(fixture, &["/etc/passwd"], 126).await?;
        the_variables_are_set(fixture).await?;
        for signal in ["INT", "TERM", "HUP", "QUIT"] {
            a_signal_reaches_the_group(fixture, signal).await?;
        }
        a_misspelled_service_ends_it_before_it_waits(fixture).await
    })
}

/// The sandbox is disabled, so it would have something to wait for.
async fn a_misspelled_service_ends_it_before_it_waits(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.skycap(&["disable", "pr-1", "-n", "shop"]).await?;
    let misspelled = ["test", "pr-1", "-n", "shop", "--forward", "crat", "--", "true"];
    let output = fixture.run_skycap(&misspelled).await?;
    let said = String::from_utf8(output.stderr)?;
    anyhow::ensure!(output.status.code() == Some(1), "{said}");
    anyhow::ensure!(said.contains("there is no Service crat.shop:80"), "{said}");
    Ok(())
}

async fn exits_with(fixture: &Fixture, command: &[&str], code: i32) -> anyhow::Result<()> {
    let output = fixture.run_skycap(&[&TEST[..], command].concat()).await?;
    anyhow::ensure!(output.status.code() == Some(code), "{command:?}: {output:?}");
    // The command's own, and nothing more.
    anyhow::ensure!(output.stdout.is_empty(), "{command:?}: {output:?}");
    Ok(())
}

/// They are in the environment of the command, and in the line of JSON before it.
async fn the_variables_are_set(fixture: &Fixture) -> anyhow::Result<()> {
    let script = "echo $BAGGAGE:$SKYCAP_KEY:$SKYCAP_SANDBOX";
    let mut command = fixture.command(&["test", "pr-1", "-o", "json", "--", "sh", "-c", script])?;
    let output = command.env("BAGGAGE", "user=1,sandbox=pr-9, tier = gold;a").output().await?;
    let printed = String::from_utf8(output.stdout)?;
    let (line, rest) = printed.split_once('\n').context("one line")?;
    let baggage = "sandbox=key-of-pr-1,user=1, tier = gold;a";
    anyhow::ensure!(rest == format!("{baggage}:key-of-pr-1:pr-1\n"), "{rest}");
    let json: Value = serde_json::from_str(line)?;
    let variables =
        json!({"BAGGAGE": baggage, "SKYCAP_KEY": "key-of-pr-1", "SKYCAP_SANDBOX": "pr-1"});
    anyhow::ensure!(json["variables"] == variables && json["key"] == "key-of-pr-1", "{json}");
    Ok(())
}

/// Both the command and a process that it has started end by it, in their own way.
async fn a_signal_reaches_the_group(fixture: &Fixture, signal: &str) -> anyhow::Result<()> {
    let child =
        format!("trap \"echo child; exit\" {signal}; echo ready; while :; do sleep 0.05; done");
    // A shell runs its own trap when the process that it waits for has ended.
    let script = format!("trap 'echo parent; exit 5' {signal}; sh -c '{child}'");
    let (mut process, mut lines) = start(fixture, &["bash", "-c", &script])?;
    anyhow::ensure!(lines.next_line().await?.as_deref() == Some("ready"), "it does not start");
    let id = process.id().context("it has ended")?;
    send_signal(signal, &id.to_string())?;
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await? {
        said.push(line);
    }
    let status: ExitStatus = process.wait().await?;
    let is_passed_on = said == ["child", "parent"] && status.code() == Some(5);
    anyhow::ensure!(is_passed_on, "{signal}: {said:?}, {status}");
    Ok(())
}

fn start(
    fixture: &Fixture,
    command: &[&str],
) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut skycap = fixture.command(&[&TEST[..], command].concat())?;
    let mut process = skycap.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = process.stdout.take().context("no stdout")?;
    Ok((process, BufReader::new(stdout).lines()))
}

const TEST: [&str; 3] = ["test", "pr-1", "--"];

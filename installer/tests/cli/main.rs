//! The command as its users run it: exit codes, what goes to stdout and what to stderr, the table of
//! flags, and what a cluster answers.

mod cluster;
mod flags;
mod queue;
mod sandbox_file;
mod stub;

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use skycap_core::config::PluginConfig;

/// Runs the command with no kubeconfig and none of the variables that stand for flags.
fn skycap(args: &[&str]) -> std::io::Result<Output> {
    command(args).output()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skycap"));
    command.args(args).stdin(Stdio::null()).env("KUBECONFIG", NOWHERE);
    command.env_remove("SKYCAP_IMAGE").env_remove("SKYCAP_MODULE_URL");
    command
}

fn examples() -> String {
    format!("{}/../deploy/examples", env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_examples_compile() -> std::io::Result<()> {
    let output = skycap(&["compile", "-f", &examples(), "-o", "plugin-config"])?;
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(PluginConfig::from_json(&output.stdout).is_ok());
    let report =
        skycap(&["compile", "-f", &examples(), "-o", "report", "--now", "2026-11-23T12:00:00Z"])?;
    assert_eq!(text(&report.stdout), include_str!("../data/examples-report.txt"));
    Ok(())
}

#[test]
fn a_refused_fragment_is_1_and_the_rest_is_printed() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let bad = folder.path().join("bad.yaml");
    fs::write(
        &bad,
        "kind: ConfigMap\nmetadata: {name: bad, labels: {skycap.dev/kind: sandbox}}\ndata: {a: b}",
    )?;
    let bad = bad.display().to_string();
    let output = skycap(&["compile", "-f", &examples(), &bad, "-o", "plugin-config"])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("pr-123:0"));
    let said = text(&output.stderr);
    assert!(
        said.starts_with(&format!("refused: ConfigMap default/bad ({bad}:1): data.a: ")),
        "{said}"
    );
    let report = skycap(&["compile", "-f", &bad, "-o", "report", "--format", "json"])?;
    assert_eq!(report.status.code(), Some(1));
    assert!(text(&report.stdout).contains("\"severity\": \"refused\""));
    Ok(())
}

#[test]
fn bad_settings_print_no_table() -> std::io::Result<()> {
    let settings = "kind: ConfigMap\nmetadata: {name: skycap, namespace: skycap-system}\ndata: {enabled: 'flase'}";
    let mut child = Command::new(env!("CARGO_BIN_EXE_skycap"))
        .args(["compile", "-f", "-", "-o", "plugin-config"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(settings.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    assert!(text(&output.stderr).contains("(stdin:1): data.enabled: "), "{output:?}");
    Ok(())
}

#[test]
fn wrong_usage_is_2() -> std::io::Result<()> {
    for args in [
        &[][..],
        &["compile"],
        &["compile", "-f", "x", "-o", "yaml"],
        &["compile", "-f", "/nowhere", "-o", "report"],
        &["compile", "-f", "x", "-o", "report", "--now", "noon"],
        &["list", "-f", "/nowhere"],
        &["explain", "-f", &examples()],
        &["explain", "-f", &examples(), "--to", "www.example.com"],
        &["explain", "-f", &examples(), "--to", "cart:0"],
        &["explain", "-f", &examples(), "--to", "cart", "-H", "baggage"],
        &["explain", "-f", &examples(), "--", "curl", "-H"],
        &["wait"],
        &["test", "pr-1"],
        &["test", "pr-1", "--"],
        &["test", "pr-1", "--forward", "www.example.com", "--", "true"],
        &["test", "pr-1", "--forward", "cart:http", "--", "true"],
        &["test", "pr-1", "--forward", "cart:80", "--forward", "cart", "--", "true"],
        &["enable"],
        &["enable", "pr-1", "--all"],
        &["rollout", "start", "--module-url", "file:///m.wasm", "--canary", "app"],
        &["rollout", "start", "--module-url", "x", "--canary", "app=cart", "--window", "soon"],
        &["install", "--image", "i", "--module-url", "file:///m.wasm", "--wait", "-1s"],
    ] {
        let output = skycap(args)?;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    Ok(())
}

#[test]
fn files_are_listed_whole_or_by_namespace() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("other.yaml");
    fs::write(
        &other,
        "kind: ConfigMap\n\
         metadata: {name: pr-1, namespace: other, labels: {skycap.dev/kind: sandbox}}\n\
         data: {routes: 'cart: cart-pr-1'}\n\
         ---\n\
         kind: ConfigMap\n\
         metadata: {name: bad, namespace: other, labels: {skycap.dev/kind: sandbox}}\n\
         data: {a: b}",
    )?;
    let (examples, other) = (examples(), other.display().to_string());
    for (more, in_shop, in_other) in [
        (&[][..], true, true),
        (&["-n", "shop"], true, false),
        (&["-n", "other"], false, true),
        (&["-n", "shop", "-A"], true, true),
        (&["-n", "nowhere"], false, false),
    ] {
        let args = [&["list", "-f", &examples, &other], more].concat();
        let output = skycap(&args)?;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = text(&output.stdout);
        assert_eq!(text.contains("shop/pr-123"), in_shop, "{more:?}: {text}");
        assert_eq!(text.contains("other/pr-1"), in_other, "{more:?}: {text}");
        assert_eq!(text.contains("other/bad"), in_other, "{more:?}: {text}");
        let args = [&["check", "-f", &examples, &other], more].concat();
        let output = skycap(&args)?;
        assert_eq!(output.status.code(), Some(i32::from(in_other)), "{more:?}: {output:?}");
    }
    let nowhere = skycap(&["list", "-f", &examples, "-n", "nowhere"])?;
    assert!(text(&nowhere.stderr).contains("namespace `nowhere`"), "{nowhere:?}");
    Ok(())
}

/// A Sidecar for the whole mesh is in another namespace than the sandbox that it hides.
#[test]
fn an_object_elsewhere_is_a_problem_of_the_sandboxs_namespace() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let sidecar = folder.path().join("sidecar.yaml");
    fs::write(
        &sidecar,
        "{apiVersion: networking.istio.io/v1, kind: Sidecar, \
         metadata: {name: mesh, namespace: istio-system}, \
         spec: {egress: [{hosts: [./*]}]}}",
    )?;
    let (examples, sidecar) = (examples(), sidecar.display().to_string());
    for (namespace, is_told) in [("shop", true), ("other", false)] {
        let check = ["check", "-f", &examples, &sidecar, "-o", "json", "-n", namespace];
        let problems: serde_json::Value = serde_json::from_slice(&skycap(&check)?.stdout)?;
        let is_sidecar = |problem: &serde_json::Value| problem["object"]["kind"] == "Sidecar";
        let told = problems.as_array().is_some_and(|all| all.iter().any(is_sidecar));
        assert_eq!(told, is_told, "{namespace}: {problems}");
    }
    Ok(())
}

#[test]
fn a_destination_without_a_namespace_is_in_the_one_of_the_flag() -> std::io::Result<()> {
    let (examples, key) = (examples(), ["-H", "baggage: sandbox=pr-123"]);
    for (flags, goes_to) in [
        (&["--to", "cart", "-n", "shop"][..], "cart-pr-123.shop:80"),
        (&["--to", "cart"], "cart.default:80 (baseline)"),
        (&["--to", "cart.shop", "-n", "other"], "cart-pr-123.shop:80"),
        (&["-n", "shop", "--", "curl", "http://cart"], "cart-pr-123.shop:80"),
    ] {
        let args = [&["explain", "-f", &examples, "-o", "json"], &key[..], flags].concat();
        let output = skycap(&args)?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(json["goesTo"], goes_to, "{flags:?}: {output:?}");
    }
    Ok(())
}

#[test]
fn without_an_image_or_a_module_nothing_is_rendered_or_installed() -> std::io::Result<()> {
    let module = ["--module-url", "oci://registry.example.com/skycap/filter:1"];
    let (image, linkerd) = (["--image", "skycap:1"], ["--mesh", "linkerd"]);
    for (flags, missing) in [
        (&[][..], &["--image", "--module-url"][..]),
        (&image, &["--module-url"]),
        (&module, &["--image"]),
        (&linkerd, &["--image"]),
        (&[image, module].concat(), &[]),
        (&[image, linkerd].concat(), &[]),
    ] {
        let output = skycap(&[&["render"], flags].concat())?;
        let wanted = if missing.is_empty() { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(wanted), "{flags:?}: {output:?}");
        assert_eq!(output.stdout.is_empty(), !missing.is_empty(), "{flags:?}");
        let said = text(&output.stderr);
        let named = |flag: &&str| said.contains(&format!("`{flag}`"));
        let found: Vec<_> = ["--image", "--module-url"].into_iter().filter(named).collect();
        assert_eq!(found, missing, "{flags:?}: {said}");
    }
    // Before it looks for a cluster.
    let output = skycap(&["install", "--mesh", "linkerd"])?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    Ok(())
}

#[test]
fn a_comment_outside_of_ci_is_wrong_usage() -> std::io::Result<()> {
    let mut command = command(&["ci", "comment", "--closed"]);
    let output = command.env_remove("GITHUB_API_URL").env_remove("CI_API_V4_URL").output()?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("$GITHUB_API_URL") && said.contains("$CI_API_V4_URL"), "{said}");
    Ok(())
}

#[test]
fn without_a_kubeconfig_one_line_says_what_to_do() -> std::io::Result<()> {
    for args in [&["status"][..], &["list"], &["explain", "--to", "cart"], &["disable", "--all"]] {
        let output = skycap(args)?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert_eq!((said.lines().count(), said.matches(NOWHERE).count()), (1, 1), "{said}");
        assert!(said.contains("set KUBECONFIG"), "{said}");
    }
    Ok(())
}

const NOWHERE: &str = "/nowhere/kubeconfig";

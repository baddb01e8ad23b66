//! The command as its users run it: exit codes, and what goes to stdout and what to stderr.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

fn skycap(args: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_skycap")).args(args).stdin(Stdio::null()).output()
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
    assert!(skycap_core::table::Table::from_json(&output.stdout).is_ok());
    let report =
        skycap(&["compile", "-f", &examples(), "-o", "report", "--now", "2026-11-23T12:00:00Z"])?;
    assert_eq!(text(&report.stdout), include_str!("data/examples-report.txt"));
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
    ] {
        let output = skycap(args)?;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    Ok(())
}

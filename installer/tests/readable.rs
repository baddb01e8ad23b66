//! What people read, as they read it: the README shows the same texts, and `deploy/` is what
//! `skycap render` writes.

use std::{fs, path::Path, process::Command};

use skycap::{
    desired::published::Summary,
    diagnose::status::{Leader, Plugin, Status},
    objects::ObjectRef,
    observed::sidecars::uptake::Uptake,
    problem::{Problem, Severity},
};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn printed(args: &str) -> std::io::Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skycap"));
    let args = args.split(' ').map(|arg| arg.replace('_', " "));
    let output = command.current_dir(root()).args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Compares with a file of `data/`, and checks that the README shows the same. `UPDATE=1` writes
/// both; it wants one test thread, since the tests share the README.
fn shown(name: &str, text: &str) -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let readme = root().join("README.md");
    if std::env::var_os("UPDATE").is_some() {
        let before = fs::read_to_string(&path)?;
        let updated = fs::read_to_string(&readme)?.replace(before.trim_end(), text.trim_end());
        fs::write(&readme, updated)?;
        fs::write(&path, text)?;
    }
    assert_eq!(text, fs::read_to_string(&path)?, "{name}: UPDATE=1 accepts the new text");
    let readme = fs::read_to_string(readme)?;
    assert!(readme.contains(text.trim_end()), "the README does not show {name}:\n{text}");
    Ok(())
}

#[test]
fn explain_reads_well() -> std::io::Result<()> {
    let routed =
        "explain -f deploy/examples -- curl http://cart.shop/items -H baggage:_sandbox=pr-123";
    shown("explain-routed.txt", &printed(routed)?)?;
    let off = "explain -f deploy/examples --to cart.shop -H baggage:_sandbox=pr-9";
    shown("explain-off.txt", &printed(off)?)
}

#[test]
fn check_reads_well() -> std::io::Result<()> {
    shown("check.txt", &printed("check -f installer/tests/data/check")?)
}

#[test]
fn status_reads_well() -> std::io::Result<()> {
    let problem = Problem {
        severity: Severity::Refused,
        object: Some(Box::new(ObjectRef::config_map("shop", "pr-8"))),
        source: None,
        field: "data.enabled".into(),
        text: "`yes` is no toggle, expected `\"true\"` or `\"false\"`".into(),
    };
    let status = Status {
        plugin: Some(Plugin {
            name: "WasmPlugin istio-system/skycap".into(),
            generation: Some("4049a2f932b6".into()),
        }),
        sidecars: Some(Uptake { total: 12, asked: 12, current: 12, ..Uptake::default() }),
        http_routes: None,
        controller: Some(Leader {
            holder: "skycap-controller-7d9f-x2".into(),
            renewed_seconds_ago: 1,
        }),
        summary: Summary {
            generation: "4049a2f932b6".into(),
            enabled: true,
            dispatch: "cluster-header".into(),
            keys: 3,
            bytes: 1_218,
            fragments: 4,
            refused: 1,
            warnings: 0,
        },
        problems: vec![problem],
    };
    let text = anstream::adapter::strip_str(&status.table()).to_string();
    shown("status.txt", &format!("{text}\n"))
}

#[test]
fn deploy_is_what_render_writes() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    printed(&format!("render --to {}", folder.path().display()))?;
    let mut files = 0;
    for entry in fs::read_dir(folder.path())? {
        let name = entry?.file_name();
        let (new, kept) = (folder.path().join(&name), root().join("deploy").join(&name));
        assert_eq!(
            fs::read_to_string(new)?,
            fs::read_to_string(kept)?,
            "skycap render --to deploy"
        );
        files += 1;
    }
    assert_eq!(files, 6, "all files");
    Ok(())
}

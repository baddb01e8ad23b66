//! Texts that the README shows, and `deploy/`, which is what `skycap render` writes.

use std::{fs, path::Path, process::Command};

use regex::Regex;
use skycap::{
    desired::published::Summary,
    diagnose::status::{Leader, Plugin, RouteCounts, Status},
    objects::ObjectRef,
    observed::{readiness::Readiness, sidecars::uptake::Uptake},
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

/// Compares a text with a file in `data/`, and checks that the README shows the same. `UPDATE=1` writes
/// both; it needs `--test-threads 1`, because the tests share the README.
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
    let message = "explain -f deploy/examples/queue/queue.yaml installer/tests/data/queue --queue orders -n shop \
                   -H baggage:_sandbox=pr-9";
    shown("explain-queue.txt", &printed(message)?)?;
    let off = "explain -f deploy/examples --to cart.shop -H baggage:_sandbox=pr-9";
    shown("explain-off.txt", &printed(off)?)
}

#[test]
fn check_reads_well() -> std::io::Result<()> {
    shown("check.txt", &printed("check -f installer/tests/data/check")?)
}

/// A status with every part.
fn status() -> Status {
    Status {
        plugin: Some(Plugin {
            exists: true,
            name: "WasmPlugin istio-system/skycap".into(),
            generation: Some("4049a2f932b6".into()),
        }),
        sidecars: Some(Uptake { total: 12, asked: 12, current: 12, ..Uptake::default() }),
        http_routes: Some(RouteCounts { accepted: 3, ..RouteCounts::default() }),
        controller: Some(Leader {
            holder: "skycap-controller-7d9f-x2".into(),
            renewed_seconds_ago: Some(1),
            readiness: Readiness::Ready,
        }),
        summary: Summary {
            generation: "4049a2f932b6".into(),
            enabled: true,
            dispatch: "cluster-header".into(),
            edge: "closed (gateways): no key from outside has an effect".into(),
            keys: 3,
            bytes: 1_218,
            fragments: 4,
            refused: 1,
            warnings: 0,
        },
        problems: vec![Problem {
            severity: Severity::Refused,
            object: Some(Box::new(ObjectRef::config_map("shop", "pr-8"))),
            source: None,
            field: "data.enabled".into(),
            text: "a problem".into(),
        }],
    }
}

/// Its layout only: the text in the README is of a real cluster.
#[test]
fn status_has_a_line_for_each_part() {
    let status = status();
    let text = anstream::adapter::strip_str(&status.table()).to_string();
    let (rows, problems) = text.split_once("\n\n").unwrap_or_default();
    let rows: Vec<_> = rows.lines().map(|row| row.split_at(NAMES)).collect();
    let names: Vec<_> = rows.iter().map(|(name, _)| name.trim_end()).collect();
    let wanted = [
        "routing",
        "table",
        "edge",
        "in the mesh",
        "plugin",
        "sidecars",
        "HTTPRoutes",
        "controller",
        "fragments",
    ];
    assert_eq!(names, wanted, "{text}");
    for (name, values) in [
        ("routing", &["on", "cluster-header"][..]),
        ("table", &["3 keys", "2 of 1200 KiB"]),
        ("edge", &["closed"]),
        ("in the mesh", &["4049a2f932b6", "up to date"]),
        ("plugin", &["WasmPlugin istio-system/skycap"]),
        ("sidecars", &["12 of 12"]),
        ("HTTPRoutes", &["3 accepted", "0 pending", "0 rejected"]),
        ("controller", &["skycap-controller-7d9f-x2 is the leader", "1 s ago"]),
        ("fragments", &["4 ", "1 refused", "0 warnings"]),
    ] {
        let row = rows.iter().find(|(row, _)| row.trim_end() == name);
        let value = row.map(|(_, value)| *value).unwrap_or_default();
        assert!(values.iter().all(|part| value.contains(part)), "{name}: {value}");
    }
    for part in ["refused", "ConfigMap shop/pr-8", "data.enabled", "a problem"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    let rejected = Summary { generation: String::new(), enabled: false, ..status.summary.clone() };
    let rejected = Status { summary: rejected, ..status.clone() };
    assert!(rejected.table().starts_with("routing      UNCHANGED") && !rejected.is_well());
    let leaderless = Status { controller: None, ..status };
    assert!(leaderless.table().contains("NO LEADER") && !leaderless.is_well());
}

#[test]
fn deploy_is_what_render_writes() -> std::io::Result<()> {
    assert_eq!(written(&format!("render {DEPLOY}"), "deploy")?, 7, "all files");
    assert_eq!(written("render --chart", "deploy/chart")?, 3, "the chart and its values");
    assert_eq!(written("render --chart", "deploy/chart/templates")?, 10, "all templates");
    Ok(())
}

#[test]
fn the_splitter_of_the_example_is_what_render_writes() -> std::io::Result<()> {
    let image = "registry.example.com/skycap/controller:0.1.0";
    let text = printed(&format!("render --queue orders -n shop --image {image}"))?;
    let path = root().join("deploy/examples/queue/splitter.yaml");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text)?;
    }
    assert_eq!(text, fs::read_to_string(path)?);
    Ok(())
}

/// Compares the files of a folder with those that a command writes. `UPDATE=1` writes them. Returns how
/// many there are.
fn written(command: &str, folder: &str) -> std::io::Result<usize> {
    let temporary = tempfile::tempdir()?;
    printed(&format!("{command} --to {}", temporary.path().display()))?;
    let is_templates = folder.ends_with("templates");
    let source = temporary.path().join(if is_templates { "templates" } else { "" });
    let mut files = 0;
    for entry in
        fs::read_dir(source)?.filter(|entry| entry.as_ref().is_ok_and(|e| e.path().is_file()))
    {
        let entry = entry?;
        let (new, kept) = (entry.path(), root().join(folder).join(entry.file_name()));
        let text = fs::read_to_string(new)?;
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(root().join(folder))?;
            fs::write(&kept, &text)?;
        }
        assert_eq!(text, fs::read_to_string(kept)?, "skycap {command} --to {folder}");
        files += 1;
    }
    Ok(files)
}

/// Where a document names a version of skycap, it is this one. `UPDATE=1` writes it.
#[test]
fn the_documents_name_this_version() -> Result<(), Box<dyn std::error::Error>> {
    let own = env!("CARGO_PKG_VERSION");
    let named =
        Regex::new(r"(skycap[\w/-]*[:@]v?|ref: v|version: |download, such as )(\d+\.\d+\.\d+)")?;
    let of_ci = ["action.yml", "example.yml", "gitlab.yml", "README.md"];
    let of_ci = of_ci.into_iter().map(|name| root().join("deploy/ci").join(name));
    for path in of_ci.chain([root().join("README.md")]) {
        let text = fs::read_to_string(&path)?;
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, named.replace_all(&text, format!("${{1}}{own}")).as_bytes())?;
        }
        let text = fs::read_to_string(&path)?;
        let names: Vec<_> = named.captures_iter(&text).map(|found| found[2].to_owned()).collect();
        let is_right = !names.is_empty() && names.iter().all(|name| name == own);
        assert!(is_right, "{}: expected {own}: {names:?}", path.display());
    }
    Ok(())
}

/// The flags that `deploy/` is rendered with: examples, to be replaced by an image and a module of
/// one's own.
const DEPLOY: &str = concat!(
    "--image registry.example.com/skycap/controller:",
    env!("CARGO_PKG_VERSION"),
    " --module-url oci://registry.example.com/skycap/filter:",
    env!("CARGO_PKG_VERSION")
);
/// The width of the column with the names in `skycap status`.
const NAMES: usize = 13;

/// Tests of the tiers `istio` and `pods` write these files from the real command on a real cluster.
#[test]
fn the_readme_shows_what_a_real_cluster_prints() -> std::io::Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    for file in ["status.txt", "up.txt", "list.txt", "test.txt"] {
        let text = fs::read_to_string(root().join("wasm-tests/tests/data").join(file))?;
        assert!(readme.contains(text.trim_end()), "the README does not show:\n{text}");
    }
    Ok(())
}

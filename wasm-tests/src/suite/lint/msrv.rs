//! The check of `rust-version`: it must be the highest one among the dependencies. A lower one would
//! be false, and a higher one would exclude compilers without need.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::suite::cargo;

/// A version of Rust: `1.89` is `1.89.0`.
type Version = [u32; 3];

/// Compares the workspace's `rust-version` with those of the resolved graph.
pub(super) fn check() -> anyhow::Result<()> {
    compare(&cargo::metadata(&[])?)
}

fn compare(metadata: &Value) -> anyhow::Result<()> {
    let mut own = Vec::new();
    let mut needed = (Version::default(), String::new());
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (name, version) = (&package["name"], &package["version"]);
        let name = format!(
            "{} {}",
            name.as_str().unwrap_or_default(),
            version.as_str().unwrap_or_default()
        );
        let Some(rust) = package["rust_version"].as_str() else { continue };
        let rust = parse(rust).with_context(|| format!("{name}: invalid version `{rust}`"))?;
        // A package of the workspace has no source.
        if package["source"].is_null() {
            own.push(rust);
        } else {
            needed = needed.max((rust, name));
        }
    }
    let claimed = own.first().context("no package of the workspace has a `rust-version`")?;
    ensure!(own.iter().all(|other| other == claimed), "the packages differ in `rust-version`");
    let (highest, dependency) = needed;
    ensure!(
        *claimed == highest,
        "Cargo.toml has rust-version {}, but the dependencies need {} ({dependency}); set \
         `rust-version = \"{}\"`",
        text(*claimed),
        text(highest),
        text(highest),
    );
    Ok(())
}

fn parse(text: &str) -> Option<Version> {
    let mut version = Version::default();
    let mut places = version.iter_mut();
    for part in text.split('.') {
        *places.next()? = part.parse().ok()?;
    }
    Some(version)
}

fn text(version: Version) -> String {
    match version {
        [major, minor, 0] => format!("{major}.{minor}"),
        [major, minor, patch] => format!("{major}.{minor}.{patch}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::compare;

    fn graph(own: &str, dependencies: &[&str]) -> Value {
        let package = |rust: &str, source: Value| json!({"name": "a", "version": "1.0.0", "rust_version": rust, "source": source});
        let foreign = dependencies.iter().map(|rust| package(rust, json!("registry")));
        let none =
            json!({"name": "b", "version": "1.0.0", "rust_version": null, "source": "registry"});
        json!({"packages": foreign.chain([none, package(own, Value::Null)]).collect::<Vec<_>>()})
    }

    #[test]
    fn the_highest_of_the_dependencies_is_required() {
        assert!(compare(&graph("1.89", &["1.60", "1.89.0", "1.9"])).is_ok());
        let low = compare(&graph("1.89", &["1.90"])).unwrap_err().to_string();
        assert!(low.contains("`rust-version = \"1.90\"`"), "{low}");
        let high = compare(&graph("1.89", &["1.88.1"])).unwrap_err().to_string();
        assert!(high.contains("`rust-version = \"1.88.1\"`"), "{high}");
    }
}

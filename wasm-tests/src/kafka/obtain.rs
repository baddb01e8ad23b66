//! Kafka's jars, from Maven Central by Maven, once into the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::{module::run, progress::Progress, workspace};

/// The folder of Kafka's jars and those that it needs.
///
/// # Errors
/// If Java or Maven is not installed, or a jar cannot be downloaded.
pub fn obtain() -> anyhow::Result<PathBuf> {
    let wanted = "install Java 17 and Maven (on Debian `apt-get install maven`)";
    Command::new("java").arg("-version").output().context(wanted)?;
    let folder = workspace::cache()?.join(format!("kafka-{VERSION}"));
    let complete = folder.join("complete");
    if !complete.is_file() {
        let _progress = Progress::new(&format!("downloading Kafka {VERSION} from Maven Central"));
        resolve(&folder).context(wanted)?;
        fs::write(complete, "")?;
    }
    Ok(folder)
}

fn resolve(folder: &Path) -> anyhow::Result<()> {
    let pom = workspace::root().join("wasm-tests/kafka/pom.xml");
    run(Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(pom)
        .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", folder.display())))
}

/// The version in `wasm-tests/kafka/pom.xml`.
const VERSION: &str = "4.1.1";

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_that_of_the_pom() {
        let pom = include_str!("../../kafka/pom.xml");
        assert!(pom.contains(&format!("<version>{}</version>", super::VERSION)), "{pom}");
    }
}

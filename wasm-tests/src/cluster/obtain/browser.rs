//! A browser: the installed one, or else Debian's `chromium`, unpacked into the cache with the libraries
//! that this machine lacks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::debian::extract;
use crate::{module::run, workspace};

/// A browser that runs without a window.
#[derive(Debug, Clone)]
pub struct Browser {
    program: PathBuf,
    /// The folder of the unpacked libraries.
    libraries: Option<PathBuf>,
}

impl Browser {
    /// What runs it in a shell, as root. It keeps its profile in `folder`.
    #[must_use]
    pub fn in_shell(&self, folder: &Path) -> String {
        let (program, folder) = (self.program.display(), folder.display());
        let libraries = self.libraries.as_ref().map(|libraries| {
            let libraries = libraries.display();
            format!("LD_LIBRARY_PATH={libraries}:{libraries}/pulseaudio ")
        });
        let libraries = libraries.unwrap_or_default();
        format!(
            "HOME={folder} {libraries}{program} --headless --no-sandbox --disable-gpu \
             --disable-dev-shm-usage --user-data-dir={folder}/profile"
        )
    }
}

/// Gets a browser: 120 MB, once for all checkouts.
///
/// # Errors
/// If none is installed and Debian's cannot be downloaded, with what to install.
pub fn browser() -> anyhow::Result<Browser> {
    // Ubuntu's package is a snap, which starts on no machine of ours.
    if let Some(program) = INSTALLED.into_iter().map(PathBuf::from).find(|path| path.is_file()) {
        return Ok(Browser { program, libraries: None });
    }
    let root = workspace::cache()?.join("chromium");
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let found = Browser { program: root.join(PROGRAM), libraries: Some(libraries) };
    let complete = root.join("complete");
    if !complete.is_file() {
        download(&root).context("cannot get a browser; install chromium or google-chrome")?;
        ensure!(found.program.is_file(), "Debian's chromium has no `{PROGRAM}`");
        fs::write(complete, "")?;
    }
    Ok(found)
}

/// Unpacks chromium and what it depends on, without what is installed.
fn download(root: &Path) -> anyhow::Result<()> {
    let archives = tempfile::tempdir()?;
    fs::create_dir_all(archives.path().join("partial"))?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--download-only", "--yes", "--no-install-recommends", "chromium"])
        .arg(format!("--option=Dir::Cache::archives={}", archives.path().display()))
        // Nothing is installed.
        .arg("--option=Debug::NoLocking=true");
    if run(&mut install).is_err() {
        // A new machine has no package lists yet.
        run(Command::new("apt-get").arg("update"))?;
        run(&mut install)?;
    }
    for entry in fs::read_dir(archives.path())? {
        let archive = entry?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            extract(&archive, root)?;
        }
    }
    Ok(())
}

const INSTALLED: [&str; 2] = ["/usr/bin/google-chrome", "/usr/bin/chromium"];
const PROGRAM: &str = "usr/lib/chromium/chromium";

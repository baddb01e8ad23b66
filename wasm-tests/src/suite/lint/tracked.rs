//! The check of the files that git tracks: none is binary. A binary file cannot be reviewed, and
//! stays in the history of every clone.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::workspace;

/// The binary files that stay, each with the reason.
const ALLOWED: [(&str, &str); 0] = [];

/// Reads every tracked file.
pub(super) fn check() -> anyhow::Result<()> {
    check_files(&workspace::root(), &ALLOWED)
}

fn check_files(root: &Path, allowed: &[(&str, &str)]) -> anyhow::Result<()> {
    let is_binary = |file: &String| fs::read(root.join(file)).is_ok_and(|bytes| bytes.contains(&0));
    let mut binary = tracked_files(root)?;
    binary.retain(is_binary);
    let binary: Vec<_> = binary.iter().map(String::as_str).collect();
    let is_allowed = |file: &str| allowed.iter().any(|(name, _)| *name == file);
    let unexpected: Vec<_> = binary.iter().copied().filter(|file| !is_allowed(file)).collect();
    ensure!(
        unexpected.is_empty(),
        "binary files are tracked: {}; remove them, or add them with a reason to `ALLOWED` in {}",
        unexpected.join(", "),
        file!()
    );
    let stale: Vec<_> =
        allowed.iter().map(|(name, _)| *name).filter(|name| !binary.contains(name)).collect();
    ensure!(
        stale.is_empty(),
        "{} allows files that are not tracked or not binary: {}; remove them from the list",
        file!(),
        stale.join(", ")
    );
    Ok(())
}

/// The names of all files that git tracks.
pub(in crate::suite) fn tracked_files(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git").current_dir(root).args(["ls-files", "-z"]).output();
    let output = output.context("cannot run git; install it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim_end());
    let list = String::from_utf8(output.stdout).context("git lists a name that is not UTF-8")?;
    let files: Vec<_> = list.split_terminator('\0').map(str::to_owned).collect();
    ensure!(!files.is_empty(), "git tracks no file in `{}`", root.display());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::check_files;

    /// A repository that tracks a text file and a binary one; a second binary file is not tracked.
    fn repository(folder: &Path) -> anyhow::Result<()> {
        fs::write(folder.join("text"), "a text\n")?;
        fs::write(folder.join("wheel"), b"PK\x03\x04\0\0")?;
        fs::write(folder.join("untracked"), b"\0")?;
        for args in [&["init", "--quiet"][..], &["add", "text", "wheel"]] {
            let status = Command::new("git").current_dir(folder).args(args).status()?;
            anyhow::ensure!(status.success(), "git {args:?}");
        }
        Ok(())
    }

    #[test]
    fn a_tracked_binary_file_needs_a_reason() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        repository(folder.path())?;
        let error = check_files(folder.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("tracked: wheel;"), "{error}");
        check_files(folder.path(), &[("wheel", "a reason")])?;
        let stale = [("wheel", "a reason"), ("text", "a reason")];
        let error = check_files(folder.path(), &stale).unwrap_err().to_string();
        assert!(error.contains(": text;"), "{error}");
        Ok(())
    }
}

//! The ConfigMaps of the demo: a copy of `deploy/examples`, which may be edited.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::workspace;

pub(super) struct ConfigMaps {
    skycap: PathBuf,
    folder: PathBuf,
}

impl ConfigMaps {
    pub(super) fn copy(skycap: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(workspace::root().join("deploy/examples"))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(Self { skycap: skycap.into(), folder: folder.into() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The output of `skycap compile -f FOLDER -o plugin-config`.
    pub(super) fn compile(&self) -> anyhow::Result<String> {
        let mut command = Command::new(&self.skycap);
        command.args(["compile", "-o", "plugin-config", "-f"]).arg(&self.folder);
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        ensure!(
            output.status.success(),
            "skycap rejected a ConfigMap:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Replaces `from` with `to` in a file.
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(
            text.contains(from),
            "cannot edit `{}`: it does not contain `{from}`",
            path.display()
        );
        Ok(fs::write(&path, text.replace(from, to))?)
    }
}

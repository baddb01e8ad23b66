//! Reads files, folders and stdin.

use std::{
    collections::HashSet,
    io::Read as _,
    path::{Path, PathBuf},
    string::FromUtf8Error,
};

/// One file.
pub(super) struct File {
    /// Its name, as problems quote it.
    pub(super) source: String,
    /// Its text, if it is one.
    pub(super) text: Result<String, FromUtf8Error>,
}

/// The files at `paths`: files, the manifests in folders (recursively, by name), and `-` for stdin.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<File>, Unreadable> {
    let (mut files, mut folders) = (Vec::new(), HashSet::new());
    for path in paths {
        read_path(path, &mut folders, &mut files)?;
    }
    Ok(files)
}

/// `folders` are those that were read, so that a symbolic link to one is not followed.
fn read_path(
    path: &Path,
    folders: &mut HashSet<PathBuf>,
    files: &mut Vec<File>,
) -> Result<(), Unreadable> {
    let unreadable = |source| Unreadable { path: path.to_owned(), source };
    let mut add =
        |source: String, bytes| files.push(File { source, text: String::from_utf8(bytes) });
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(unreadable)?;
        add("stdin".into(), bytes);
    } else if path.is_dir() {
        if folders.insert(path.canonicalize().map_err(unreadable)?) {
            for entry in entries(path).map_err(unreadable)? {
                read_path(&entry, folders, files)?;
            }
        }
    } else {
        add(path.display().to_string(), std::fs::read(path).map_err(unreadable)?);
    }
    Ok(())
}

/// A path that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`: check the path")]
pub struct Unreadable {
    path: PathBuf,
    source: std::io::Error,
}

/// The manifests and folders in a folder, by name. In the volume of a ConfigMap, names that begin with
/// `..` are the kubelet's own copies.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    let is_own = |entry: &PathBuf| {
        entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".."))
    };
    entries.retain(|entry| !is_own(entry) && (entry.is_dir() || is_manifest(entry)));
    entries.sort();
    Ok(entries)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

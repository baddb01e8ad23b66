//! Container images, built without a container engine and pulled from nowhere: an OCI archive with one
//! layer, which containerd imports (OCI image format, "image-layout" and "config").

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::archive::{Blob, Hashed, append, append_folder, header};

/// An image: its files, and how its containers run.
#[derive(Debug, Clone)]
pub struct Image {
    name: &'static str,
    files: BTreeMap<PathBuf, Content>,
    config: Value,
}

#[derive(Debug, Clone)]
enum Content {
    /// A file of this machine, which can be executed in the image.
    Program(PathBuf),
    Text(String),
    Link(&'static str),
    /// A folder that every user may write to.
    Folder,
}

impl Image {
    /// An empty image whose containers run with this user id.
    #[must_use]
    pub fn new(name: &'static str, user: u32) -> Self {
        let config = json!({"User": format!("{user}:{user}")});
        Self { name, files: BTreeMap::new(), config }
    }

    /// The name by which a Pod asks for the image.
    #[must_use]
    pub fn reference(name: &str) -> String {
        format!("docker.io/local/{name}:1")
    }

    /// With a field of the configuration, such as `Entrypoint`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    /// With a program of this machine, and the libraries that it is linked with. `libraries` is a
    /// further folder in which they are looked for.
    ///
    /// # Errors
    /// If a library is missing.
    pub fn program(
        mut self,
        place: &str,
        program: &Path,
        libraries: Option<&Path>,
    ) -> anyhow::Result<Self> {
        for library in linked_libraries(program, libraries)? {
            let name = library.file_name().context("a library has no name")?;
            let is_loader = name.to_string_lossy().starts_with("ld-linux");
            let place = if is_loader { library.clone() } else { library_folder().join(name) };
            self.files.insert(place, Content::Program(library));
        }
        self.files.insert(place.into(), Content::Program(program.into()));
        Ok(self)
    }

    /// With an extension of iptables, which it loads by name.
    #[must_use]
    pub fn extension(mut self, library: &Path) -> Self {
        let folder = format!("/usr{}", library_folder().display());
        let place =
            Path::new(&folder).join("xtables").join(library.file_name().unwrap_or_default());
        self.files.insert(place, Content::Program(library.into()));
        self
    }

    /// With a folder of this machine and everything in it.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn tree(mut self, place: &str, folder: &Path) -> anyhow::Result<Self> {
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read `{}`", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let place = format!("{place}/{name}");
            if path.is_dir() {
                self = self.tree(&place, &path)?;
            } else {
                self.files.insert(place.into(), Content::Program(path));
            }
        }
        Ok(self)
    }

    /// With a text file.
    #[must_use]
    pub fn text(mut self, place: &str, text: String) -> Self {
        self.files.insert(place.into(), Content::Text(text));
        self
    }

    /// With a symbolic link.
    #[must_use]
    pub fn link(mut self, place: &str, to: &'static str) -> Self {
        self.files.insert(place.into(), Content::Link(to));
        self
    }

    /// With a folder that every user may write to.
    #[must_use]
    pub fn folder(mut self, place: &str) -> Self {
        self.files.insert(place.into(), Content::Folder);
        self
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let layer_file = archive.with_extension("layer");
        let layer = self.write_layer(&layer_file).context("cannot write a layer")?;
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let config = Blob::of(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        }));
        let manifest = Blob::of(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        }));
        let mut descriptor = manifest.descriptor(MANIFEST);
        descriptor["annotations"] = json!({"io.containerd.image.name": Self::reference(self.name)});
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        let mut tar = tar::Builder::new(File::create(archive)?);
        for (path, bytes) in [
            ("oci-layout".to_owned(), json!({"imageLayoutVersion": "1.0.0"}).to_string()),
            ("index.json".to_owned(), index.to_string()),
            (config.path(), config.text),
            (manifest.path(), manifest.text),
        ] {
            append(&mut tar, Path::new(&path), bytes.len() as u64, bytes.as_bytes())?;
        }
        let path = layer.path();
        append(&mut tar, Path::new(&path), layer.size, File::open(&layer_file)?)?;
        tar.into_inner()?.flush()?;
        Ok(std::fs::remove_file(layer_file)?)
    }

    fn write_layer(&self, file: &Path) -> anyhow::Result<Blob> {
        let mut tar = tar::Builder::new(Hashed::create(file)?);
        let mut folders = BTreeSet::new();
        for (place, content) in &self.files {
            let place = place.strip_prefix("/").unwrap_or(place);
            let parents: BTreeSet<_> = place.ancestors().skip(1).collect();
            for folder in parents {
                if !folder.as_os_str().is_empty() && folders.insert(folder.to_owned()) {
                    append_folder(&mut tar, folder, 0o755)?;
                }
            }
            match content {
                Content::Program(source) => {
                    let file = File::open(source)
                        .with_context(|| format!("cannot read `{}`", source.display()))?;
                    append(&mut tar, place, file.metadata()?.len(), file)?;
                }
                Content::Text(text) => append(&mut tar, place, text.len() as u64, text.as_bytes())?,
                Content::Link(to) => {
                    let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                    tar.append_link(&mut header, place, to)?;
                }
                Content::Folder => append_folder(&mut tar, place, 0o777)?,
            }
        }
        Ok(tar.into_inner()?.finish())
    }
}

/// The libraries that `ldd` names, with the loader.
fn linked_libraries(program: &Path, libraries: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program).envs(libraries.map(|folder| ("LD_LIBRARY_PATH", folder)));
    let output = ldd.output().context("cannot run `ldd`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("not found"), "`{}` lacks a library:\n{text}", program.display());
    let path =
        |line: &str| Some(PathBuf::from(line.split_whitespace().find(|w| w.starts_with('/'))?));
    Ok(text.lines().filter_map(path).collect())
}

fn library_folder() -> PathBuf {
    format!("/lib/{}-linux-gnu", std::env::consts::ARCH).into()
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

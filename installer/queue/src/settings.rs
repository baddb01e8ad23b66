//! The settings of a splitter: the files that its Deployment mounts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use skycap::table::queue::{QueueConfig, check_property};

/// The queue that a splitter works for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ConfigMap's namespace.
    pub namespace: String,
    /// The ConfigMap's name.
    pub name: String,
    /// What the ConfigMap says.
    pub queue: QueueConfig,
    /// What the Secret adds to the properties of librdkafka.
    pub secret: BTreeMap<String, String>,
}

impl Settings {
    /// Reads a mounted ConfigMap and a mounted Secret. `queue` is `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// If a file cannot be read, or a field is invalid.
    pub fn read(queue: &str, config: &Path, secret: Option<&Path>) -> anyhow::Result<Self> {
        let (namespace, name) = queue.split_once('/').with_context(|| {
            format!("invalid value `{queue}` of `--queue`: expected `NAMESPACE/NAME`")
        })?;
        let data = files(config)?;
        ensure!(!data.is_empty(), "no file in `{}`: mount the queue's ConfigMap", config.display());
        let parsed = QueueConfig::parse(data).map_err(|error| {
            anyhow::anyhow!("the queue `{queue}` is invalid: {error}; correct its ConfigMap")
        })?;
        let secret = secret.map(files).transpose()?.unwrap_or_default();
        for property in secret.keys() {
            check_property(property).with_context(|| "the queue's Secret is invalid")?;
        }
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Ok(Self { namespace, name, queue: parsed, secret })
    }

    /// The consumer group of the splitters themselves. With the namespace, because queues of two namespaces
    /// may be on one Kafka; and with dots, which no name of either has.
    #[must_use]
    pub fn own_group(&self) -> String {
        format!("skycap.{}.{}", self.namespace, self.name)
    }

    /// The group that has no member, whose offsets are the records of the topics of sandboxes.
    #[must_use]
    pub fn record_group(&self) -> String {
        format!("{}.topics", self.own_group())
    }
}

/// The files of a mounted ConfigMap or Secret, by name. The kubelet's own entries begin with two dots.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let unreadable = |path: &Path| format!("cannot read `{}`: check the mount", path.display());
    let entries = fs::read_dir(folder).with_context(|| unreadable(folder))?;
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(|| unreadable(folder))?;
    let mut files = BTreeMap::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("..") || path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| unreadable(&path))?;
        files.insert(name, text.trim_end_matches('\n').to_owned());
    }
    Ok(files)
}

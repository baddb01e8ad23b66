//! Which sandbox a command is about, and what it shall be: a sandbox file, or flags.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, FromArgMatches};
use kube::Client;

use super::{Globals, Usage};
use crate::environment::{
    labels::check_label_name,
    spec::{ForkSpec, InvalidFile, SandboxSpec},
    workload::Workload,
};

/// The sandbox file and its variables.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Sandbox file [default: skycap.yaml]
    #[arg(id = "paths", short = 'f', long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Value of a variable in the file; other variables come from the environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
}

/// Forks without a file.
#[derive(Debug, Default)]
pub(crate) struct ForkArgs(Vec<(Workload, ForkSpec)>);

/// Labels of the sandbox's ConfigMap.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Label of the sandbox, which groups match and `list` shows
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
}

impl FileArgs {
    /// Reads the file. `name` stands in for the sandbox that it names. `instead` is what an error says can
    /// be passed in the place of a file.
    ///
    /// # Errors
    /// The file cannot be read, or is rejected.
    pub(crate) fn read(
        &self,
        name: Option<&str>,
        instead: &'static str,
    ) -> anyhow::Result<SandboxSpec> {
        let text = self.text(instead)?;
        let asked = RefCell::new(BTreeSet::new());
        let parsed = SandboxSpec::parse(&text, name, &|variable| {
            asked.borrow_mut().insert(variable.to_owned());
            self.value_of(variable)
        });
        // Where the text cannot be read, no variable has been asked for. Otherwise a misspelled `--set`
        // is also why a variable has no value.
        if !matches!(parsed, Err(InvalidFile::Yaml(_))) {
            self.check_set(&asked.into_inner())?;
        }
        parsed.with_context(|| format!("{}", self.path().display()))
    }

    /// # Errors
    /// A `--set` of a variable that is not among `used`, and so has no effect.
    pub(crate) fn check_set(&self, used: &BTreeSet<String>) -> Result<(), Usage> {
        let Some((name, _)) = self.set.iter().find(|(name, _)| !used.contains(name)) else {
            return Ok(());
        };
        let known: Vec<_> = used.iter().map(String::as_str).collect();
        let hint = match similar::get_close_matches(name.as_str(), &known, 1, 0.6).first() {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if known.is_empty() => "it uses none; remove the flag".into(),
            None => format!("expected one of {}", known.join(", ")),
        };
        Err(Usage::UnusedVariable { name: name.clone(), hint })
    }

    /// The names of the sandbox and, if the file has one, of the namespace. With a name, the default file
    /// need not be there.
    ///
    /// Only the variables of these need values: `down` runs where no image has been built.
    ///
    /// # Errors
    /// The file cannot be read, or is rejected.
    pub(crate) fn read_names(
        &self,
        name: Option<String>,
    ) -> anyhow::Result<(String, Option<String>)> {
        let name = match name {
            Some(name) if self.is_default() && !self.path().exists() => return Ok((name, None)),
            name => name,
        };
        let text = self.text(", or NAME instead")?;
        let lookup = |variable: &str| self.value_of(variable);
        SandboxSpec::parse_names(&text, name.as_deref(), &lookup)
            .with_context(|| format!("{}", self.path().display()))
    }

    /// Whether the file is the default one.
    pub(crate) fn is_default(&self) -> bool {
        self.file.is_none()
    }
}

impl FileArgs {
    fn text(&self, instead: &'static str) -> Result<String, Usage> {
        let path = self.path().to_owned();
        std::fs::read_to_string(&path).map_err(|source| Usage::UnreadableSandboxFile {
            path,
            instead,
            source,
        })
    }

    fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or_else(|| Path::new(FILE))
    }

    fn value_of(&self, variable: &str) -> Option<String> {
        let given = self.set.iter().rev().find(|(name, _)| name == variable);
        given.map(|(_, value)| value.clone()).or_else(|| std::env::var(variable).ok())
    }
}

impl ForkArgs {
    /// Adds the forks to those of a file.
    ///
    /// # Errors
    /// A workload that is there already.
    pub(crate) fn add_to(self, spec: &mut SandboxSpec) -> anyhow::Result<()> {
        for (workload, fork) in self.0 {
            let text = format!("`{workload}` is forked twice; keep one `--fork` of it");
            anyhow::ensure!(spec.forks.insert(workload, fork).is_none(), text);
        }
        Ok(())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl LabelArgs {
    pub(crate) fn add_to(self, spec: &mut SandboxSpec) {
        spec.labels.extend(self.label);
    }
}

/// By hand, because an `--image` belongs to the `--fork` before it, and a derived parser does not know
/// the order of two flags.
impl Args for ForkArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let fork = clap::Arg::new("fork")
            .long("fork")
            .value_name("WORKLOAD")
            .value_parser(str::parse::<Workload>)
            .action(clap::ArgAction::Append)
            .help("Workload to fork: a Deployment's name, or `statefulset/NAME`");
        let image = clap::Arg::new("image")
            .long("image")
            .value_name("[CONTAINER=]IMAGE")
            .action(clap::ArgAction::Append)
            .requires("fork")
            .help("Image of the `--fork` before it");
        command.arg(fork).arg(image)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForkArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let forks = matches.get_many::<Workload>("fork").into_iter().flatten().cloned();
        let places: Vec<_> = matches.indices_of("fork").into_iter().flatten().collect();
        self.0 = forks.map(|workload| (workload, ForkSpec::default())).collect();
        let images = matches.get_many::<String>("image").into_iter().flatten();
        for (image, place) in images.zip(matches.indices_of("image").into_iter().flatten()) {
            let before = places.iter().rposition(|fork| *fork < place);
            let Some((_, spec)) = before.and_then(|index| self.0.get_mut(index)) else {
                let text = format!("`--image {image}` stands before its `--fork`; put it behind\n");
                return Err(clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, text));
            };
            match image.split_once('=') {
                Some((container, image)) => {
                    spec.images.insert(container.into(), image.into());
                }
                None => spec.image = Some(image.clone()),
            }
        }
        Ok(())
    }
}

/// The namespace of a sandbox: the file's, or else the command's.
///
/// # Errors
/// `--namespace` names another one than the file.
pub(crate) fn namespace(
    in_file: Option<String>,
    globals: &Globals,
    client: &Client,
) -> Result<String, Usage> {
    let agreed = agreed(in_file, globals.namespace.as_ref())?;
    Ok(agreed.unwrap_or_else(|| globals.namespace(client).to_owned()))
}

/// The namespace that the file or the flag names.
///
/// # Errors
/// They name two.
pub(crate) fn agreed(
    in_file: Option<String>,
    given: Option<&String>,
) -> Result<Option<String>, Usage> {
    match (in_file, given) {
        (Some(in_file), Some(given)) if in_file != *given => {
            Err(Usage::OtherNamespace { in_file, given: given.clone() })
        }
        (in_file, given) => Ok(in_file.or_else(|| given.cloned())),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = parse_pair(text)?;
    check_label_name(&name)?;
    Ok((name, value))
}

/// The file in the current folder.
const FILE: &str = "skycap.yaml";

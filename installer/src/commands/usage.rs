//! Mistakes in what was typed. They exit with 2; what a cluster or a file refuses exits with 1.

use std::path::PathBuf;

use crate::{
    ci::JobError,
    diagnose::{curl::InvalidCurl, request::InvalidServicePort},
    forward::Clash,
};

/// A command line that the parser accepts, but that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Usage {
    /// `install` or `render` without the controller's image.
    #[error("missing `--image`: only a released build has a default for it\n{IMAGE_HINT}")]
    MissingImage,
    /// Istio without the filter's module.
    #[error("missing `--module-url`: only a released build has a default for it\n{MODULE_HINT}")]
    MissingModuleUrl,
    /// Both are missing.
    #[error(
        "missing `--image` and `--module-url`: only a released build has defaults for them\n\
         {IMAGE_HINT}\n{MODULE_HINT}"
    )]
    MissingImageAndModuleUrl,
    /// `up` with `--fork` and without a name.
    #[error("missing name of the sandbox: expected `skycap up NAME --fork WORKLOAD`")]
    MissingSandboxName,
    /// `up` that would print a plan as JSON.
    #[error("`--dry-run` prints text only; remove `-o json`")]
    DryRunAsJson,
    /// A sandbox file with another namespace than the flag.
    #[error(
        "`--namespace {given}`, but the sandbox file has `namespace: {in_file}`; remove one of the two"
    )]
    OtherNamespace {
        /// The file's.
        in_file: String,
        /// The flag's.
        given: String,
    },
    /// A `--set` without effect.
    #[error("`--set {name}=…` sets no variable of the sandbox file; {hint}")]
    UnusedVariable {
        /// The variable.
        name: String,
        /// The variable that is most like it, or what to do.
        hint: String,
    },
    /// A sandbox file that cannot be read.
    #[error(
        "cannot read `{}`: expected a sandbox file; pass another one with `-f`{instead}",
        path.display()
    )]
    UnreadableSandboxFile {
        /// The file.
        path: PathBuf,
        /// What else can be passed, such as `, or NAME instead`.
        instead: &'static str,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// `explain` without a destination.
    #[error(
        "missing destination: expected `--to SERVICE.NAMESPACE[:PORT]`, or a curl command after `--`"
    )]
    MissingDestination,
    /// `explain` with a malformed destination.
    #[error(transparent)]
    InvalidDestination(#[from] InvalidServicePort),
    /// `explain` with a malformed curl command or header.
    #[error(transparent)]
    InvalidCurl(#[from] InvalidCurl),
    /// `render --role` or `--queue` without a namespace.
    #[error("missing `--namespace`: roles and splitters are for one namespace")]
    MissingNamespace,
    /// `ci` outside of a job of a pull request.
    #[error(transparent)]
    NotInJob(#[from] JobError),
    /// `test` with a malformed forward.
    #[error(
        "invalid `--forward {0}`: expected a Service of the cluster and its port as \
         `SERVICE[.NAMESPACE][:PORT]`"
    )]
    InvalidForward(String),
    /// `test` with two forwards whose URLs would have one name.
    #[error(transparent)]
    ForwardClash(#[from] Clash),
    /// `down` of a ConfigMap that is no sandbox, such as a group.
    #[error(
        "ConfigMap {namespace}/{name} is not a sandbox; if it shall go, `kubectl -n {namespace} delete \
         configmap {name}`"
    )]
    NotSandbox {
        /// The namespace of the ConfigMap.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// `enable` or `disable` of what is not there.
    #[error(
        "no sandbox or group `{namespace}/{name}`: expected the name of its ConfigMap; \
         `skycap list -A` lists them"
    )]
    UnknownSandbox {
        /// The namespace that was looked in.
        namespace: String,
        /// The name that was given.
        name: String,
    },
}

const IMAGE_HINT: &str = "hint: build the image with `podman build -f installer/Containerfile -t \
                          REGISTRY/skycap/controller:VERSION .`, push it, and pass its name with \
                          `--image` or SKYCAP_IMAGE";
const MODULE_HINT: &str = "hint: push the module with `skycap plugin push \
                           oci://REGISTRY/skycap/filter:VERSION`, and pass the URL that it prints \
                           with `--module-url` or SKYCAP_MODULE_URL";

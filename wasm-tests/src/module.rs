//! The module's build, with whichever toolchain for wasm32 the machine has or can get.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{progress::Step, workspace};

/// A toolchain that builds for wasm32-unknown-unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The active one, which has the target's standard library.
    Installed,
    /// Debian's, which builds the standard library from its own sources.
    Debian,
}

/// What is to be done before there is a toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    Ready(Toolchain),
    AddTarget,
    InstallPackages,
}

impl Toolchain {
    /// The toolchain that is there, or that can be had: by rustup, else by Debian's packages.
    ///
    /// # Errors
    /// When there is none, with the command that would bring one.
    pub fn find() -> anyhow::Result<Self> {
        match Setup::plan() {
            Setup::Ready(toolchain) => Ok(toolchain),
            Setup::AddTarget | Setup::InstallPackages => Self::obtain(),
        }
    }

    /// A cargo command for wasm32-unknown-unknown, such as `cargo build …`.
    ///
    /// `crates` are those of the standard library that Debian's toolchain has to build.
    #[must_use]
    pub fn cargo(self, subcommand: &str, crates: &str) -> Command {
        let mut command = match self {
            Self::Installed => Command::new("cargo"),
            Self::Debian => debian_cargo(),
        };
        command.current_dir(workspace::root()).arg(subcommand).args(["--target", TARGET]);
        if self == Self::Debian {
            command.arg(format!("-Zbuild-std={crates}"));
            // A folder of its own, so that two compilers do not throw away each other's work.
            command.arg("--target-dir").arg(self.target());
        }
        command
    }

    /// Where this toolchain's cargo puts what it builds.
    #[must_use]
    pub fn target(self) -> PathBuf {
        match self {
            Self::Installed => workspace::target(),
            Self::Debian => workspace::target().join("debian"),
        }
    }

    fn obtain() -> anyhow::Result<Self> {
        if Setup::plan() == Setup::AddTarget {
            let _step = Step::new("adding the target wasm32-unknown-unknown");
            let added = Command::new("rustup").args(["target", "add", TARGET]).output();
            if added.is_ok_and(|added| added.status.success()) && has_target() {
                return Ok(Self::Installed);
            }
        }
        if !is_root_on_debian() {
            bail!(
                "no toolchain for wasm32-unknown-unknown; run `rustup target add {TARGET}`, or as \
                 root on Debian `apt-get install {}`",
                DEBIAN_PACKAGES.join(" ")
            );
        }
        let _step = Step::new("installing Debian's toolchain for wasm32-unknown-unknown");
        run(Command::new("apt-get").arg("update"))?;
        run(Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(DEBIAN_PACKAGES))?;
        Ok(Self::Debian)
    }
}

impl Setup {
    fn plan() -> Self {
        if has_target() {
            Self::Ready(Toolchain::Installed)
        } else if has_debian_packages() {
            Self::Ready(Toolchain::Debian)
        } else if Command::new("rustup").arg("--version").output().is_ok() {
            Self::AddTarget
        } else {
            Self::InstallPackages
        }
    }
}

/// Builds the filter and leaves it at `target/skycap.wasm`, which keeps its time when nothing
/// has changed.
///
/// # Errors
/// When there is no toolchain, or when the build fails, with what the compiler said.
pub fn build() -> anyhow::Result<PathBuf> {
    build_package("skycap-filter", "skycap_filter", "skycap.wasm")
}

/// Builds the filter that does nothing, on the Rust SDK.
///
/// # Errors
/// As [`build`].
pub fn build_null_sdk() -> anyhow::Result<PathBuf> {
    build_package("skycap-null-sdk", "null_sdk", "null-sdk.wasm")
}

fn build_package(package: &str, library: &str, module: &str) -> anyhow::Result<PathBuf> {
    let _step = Step::new(&format!("building {module}"));
    let toolchain = Toolchain::find()?;
    let mut cargo = toolchain.cargo("build", "std,panic_abort");
    run(cargo.args(["--quiet", "--package", package, "--profile", "module"]))?;
    let built = toolchain.target().join(TARGET).join("module").join(library).with_extension("wasm");
    let module = workspace::target().join(module);
    copy_if_changed(&built, &module)
        .with_context(|| format!("cannot copy `{}`", built.display()))?;
    Ok(module)
}

/// Runs a command to its end; what it said is shown only when it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let said = command.stdin(Stdio::null()).output();
    let said = said.with_context(|| format!("cannot run {command:?}; is it installed?"))?;
    if !said.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&said.stderr).trim_end());
    }
    Ok(())
}

/// The active rustc's word for where the target's libraries are, and a look whether they are there.
fn has_target() -> bool {
    let asked =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(asked) = asked else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    })
}

fn has_debian_packages() -> bool {
    let asked = Command::new("dpkg").arg("--status").args(DEBIAN_PACKAGES).output();
    asked.is_ok_and(|asked| asked.status.success())
}

fn is_root_on_debian() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    is_root && Path::new("/etc/debian_version").exists()
}

fn debian_cargo() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    // What rustup's cargo set for the programs that it runs points at the other toolchain.
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME", "LD_LIBRARY_PATH"] {
        command.env_remove(variable);
    }
    command
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-22");
    command
}

fn copy_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes)
}

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

//! The build of the module, with the toolchain for wasm32 that the machine has or can get.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{process::killed_with_parent, progress::Progress, workspace};

/// A toolchain that compiles for wasm32-unknown-unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The active one. It has the standard library of the target.
    Installed,
    /// Debian's. It compiles the standard library from its own sources.
    Debian,
}

impl Toolchain {
    /// The toolchain of this machine. If rustup manages the active one, it adds the target.
    ///
    /// # Errors
    /// If there is none, with what to install.
    pub fn find() -> anyhow::Result<Self> {
        if has_target() {
            return Ok(Self::Installed);
        }
        if has_debian_packages() {
            return Ok(Self::Debian);
        }
        if add_target() {
            return Ok(Self::Installed);
        }
        bail!(
            "no Rust toolchain here compiles for {TARGET}; run `rustup target add {TARGET}`, or on \
             Debian install {} (as root, `cargo module --install` does)",
            DEBIAN_PACKAGES.join(" ")
        )
    }

    /// As [`Self::find`], but installs Debian's packages if there is no toolchain. Needs root.
    ///
    /// # Errors
    /// If there is no toolchain and this is not Debian or not root, or if the installation fails.
    pub fn install() -> anyhow::Result<Self> {
        let missing = match Self::find() {
            Ok(toolchain) => return Ok(toolchain),
            Err(missing) => missing,
        };
        if !is_root_on_debian() {
            return Err(missing);
        }
        let _progress = Progress::new(&format!("installing {}", DEBIAN_PACKAGES.join(" ")));
        run(Command::new("apt-get").arg("update"))?;
        run(Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(DEBIAN_PACKAGES))?;
        Ok(Self::Debian)
    }

    /// `cargo SUBCOMMAND --locked` for wasm32-unknown-unknown.
    ///
    /// `crates` are the crates of the standard library that Debian's toolchain compiles.
    #[must_use]
    pub fn cargo(self, subcommand: &str, crates: &str) -> Command {
        self.cargo_by(Command::new, subcommand, crates)
    }

    /// As [`Self::cargo`], with a command that `new` makes of the program.
    fn cargo_by(self, new: fn(&'static str) -> Command, subcommand: &str, crates: &str) -> Command {
        let mut command = match self {
            Self::Installed => new("cargo"),
            Self::Debian => debian_cargo(new),
        };
        // With these, cargo ignores the flags in .cargo/config.toml, and the module has other bytes.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.current_dir(workspace::root()).args([subcommand, "--locked", "--target", TARGET]);
        if self == Self::Debian {
            command.arg(format!("-Zbuild-std={crates}"));
            // Two compilers in one folder would discard each other's output.
            command.arg("--target-dir").arg(self.target());
        }
        command
    }

    /// The folder in which this toolchain's cargo puts its output.
    #[must_use]
    pub fn target(self) -> PathBuf {
        match self {
            Self::Installed => workspace::target(),
            Self::Debian => workspace::target().join("debian"),
        }
    }
}

/// Builds the filter into `target/skycap.wasm`, and returns that path. An unchanged module keeps
/// its modification time.
///
/// # Errors
/// If there is no toolchain, or if the build fails, with the compiler's output.
pub fn build() -> anyhow::Result<PathBuf> {
    build_package("skycap-filter", "skycap_filter", "skycap.wasm")
}

/// Builds the filter that does nothing on the Rust SDK, into `target/null-sdk.wasm`.
///
/// # Errors
/// As [`build`].
pub fn build_null_sdk() -> anyhow::Result<PathBuf> {
    build_package("skycap-null-sdk", "null_sdk", "null-sdk.wasm")
}

fn build_package(package: &str, library: &str, module: &str) -> anyhow::Result<PathBuf> {
    let _progress = Progress::new(&format!("building {module}"));
    let toolchain = Toolchain::find()?;
    let cargo = toolchain.cargo_by(killed_with_parent, "build", "std,panic_abort");
    run(&mut module_of(cargo, package, &cargo_home()?))?;
    let built = toolchain.target().join(TARGET).join("module").join(library).with_extension("wasm");
    let module = workspace::target().join(module);
    copy_if_changed(&built, &module)
        .with_context(|| format!("cannot copy `{}`", built.display()))?;
    Ok(module)
}

/// The build of a package's module by `cargo build`. The module does not contain the folder of
/// `cargo_home`, so that everybody who builds a version gets the same bytes.
pub(crate) fn module_of(mut cargo: Command, package: &str, cargo_home: &Path) -> Command {
    let remap = format!("--remap-path-prefix={}=cargo", cargo_home.display());
    cargo
        .args(["--quiet", "--package", package, "--profile", "module"])
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags=[{remap:?}]"));
    cargo
}

/// The folder in which cargo keeps the sources of dependencies (cargo: "Environment Variables").
pub(crate) fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("HOME is not set")
}

/// Runs a command to its end. Its output is shown only if it fails, in the error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}; is it installed?"))?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}

/// Whether the folder that the active rustc names for the target's libraries has them.
fn has_target() -> bool {
    let output =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(output) = output else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    })
}

/// Asks rustup to add the target to the active toolchain.
fn add_target() -> bool {
    if Command::new("rustup").arg("--version").output().is_err() {
        return false;
    }
    let _progress = Progress::new(&format!("adding the target {TARGET} with rustup"));
    run(Command::new("rustup").args(["target", "add", TARGET])).is_ok() && has_target()
}

fn has_debian_packages() -> bool {
    run(Command::new("dpkg").arg("--status").args(DEBIAN_PACKAGES)).is_ok()
}

fn is_root_on_debian() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    is_root && Path::new("/etc/debian_version").exists()
}

fn debian_cargo(new: fn(&'static str) -> Command) -> Command {
    let mut command = new("/usr/bin/cargo");
    // rustup's cargo sets these for the programs that it runs; they select the other toolchain.
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

/// The target of the module.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

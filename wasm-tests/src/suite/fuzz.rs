//! The tier `fuzz`: the core on random bytes, by cargo-fuzz. Each fuzz target counts as one test.

use std::{path::Path, process::Command};

use super::{
    Options,
    runner::{Skip, Tally},
    tool,
};
use crate::{module::run, workspace};

/// Runs each fuzz target for five seconds, or for a minute in the long form.
pub(super) fn run_targets(options: Options) -> Result<Tally, Skip> {
    if run(Command::new("cargo").args(["+nightly", "--version"])).is_err() {
        return Err(Skip(
            "nightly Rust is not installed; run `rustup toolchain install nightly`".into(),
        ));
    }
    let cargo_fuzz = tool::CARGO_FUZZ.path()?;
    let folder = workspace::root().join("filter/core/fuzz");
    // cargo-fuzz has no `--locked`: this fails if the lock file is out of date.
    run(Command::new("cargo").current_dir(&folder).args(["+nightly", "fetch", "--locked"]))?;
    let seconds = if options.long { 60 } else { 5 };
    let mut commands = Vec::new();
    for target in ["baggage", "config", "decide", "edge"] {
        let corpus = workspace::target().join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        let mut command = fuzz_run(&cargo_fuzz, &folder, target);
        command
            .arg(corpus)
            .arg(folder.join("seeds").join(target))
            .args(["--", "-verbosity=0", "-max_len=16384", "-timeout=10"])
            .arg(format!("-max_total_time={seconds}"));
        commands.push(command);
    }
    // Each target runs on one thread. The first one to start builds all of them.
    Ok(Tally::of_parallel_checks(&mut commands))
}

/// `cargo fuzz run TARGET`, to be followed by its corpora.
fn fuzz_run(cargo_fuzz: &Path, folder: &Path, target: &str) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command
        .current_dir(folder)
        // cargo-fuzz calls cargo, which must be nightly's.
        .env("RUSTUP_TOOLCHAIN", "nightly")
        .env_remove("CARGO")
        .args(["fuzz", "run", "--fuzz-dir", ".", "--target-dir"])
        .arg(workspace::target().join("fuzz"))
        .arg(target);
    command
}

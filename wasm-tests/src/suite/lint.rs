//! The tier `lint`: rules for all files, crates and dependencies.

mod layout;
mod msrv;
mod tracked;

use std::process::Command;

pub(super) use self::tracked::tracked_files;
use super::{cargo::cargo, runner::Tally, tool};
use crate::{module::Toolchain, workspace};

/// Runs all checks, also after one has failed.
pub(super) fn run() -> Tally {
    let mut format = Command::new("cargo");
    format.current_dir(workspace::root()).args(["fmt", "--all", "--check"]);
    let mut clippy = cargo("clippy");
    clippy.args(["--quiet", "--all-targets", "--", "--deny", "warnings"]);
    let mut doc = cargo("doc");
    doc.args(["--quiet", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    Tally::of_check(&mut format)
        + Tally::of_check(&mut clippy)
        + clippy_of_the_filter()
        + Tally::of_check(&mut doc)
        + dependencies()
        + Tally::of_result("rust-version is what the dependencies need", msrv::check())
        + Tally::of_result("no file is too long", layout::check())
        + Tally::of_result("no binary file is tracked", tracked::check())
}

/// The filter compiles for wasm32 only, and Debian's toolchain has no clippy for it.
fn clippy_of_the_filter() -> Tally {
    let Ok(Toolchain::Installed) = Toolchain::find() else {
        anstream::println!(
            "skipped: clippy of skycap-filter; run `rustup target add wasm32-unknown-unknown`"
        );
        return Tally { skipped: 1, ..Tally::default() };
    };
    let mut clippy = Toolchain::Installed.cargo("clippy", "");
    clippy.args(["--quiet", "--package", "skycap-filter", "--", "--deny", "warnings"]);
    Tally::of_check(&mut clippy)
}

/// `cargo deny` by the rules in deny.toml. Advisories are not among them: a new one must not fail
/// an unrelated change.
fn dependencies() -> Tally {
    match tool::CARGO_DENY.path() {
        Ok(cargo_deny) => Tally::of_check(
            Command::new(cargo_deny)
                .current_dir(workspace::root())
                .args(["--locked", "check", "licenses", "bans", "sources"]),
        ),
        Err(error) => Tally::of_result("cargo deny", Err(error)),
    }
}

//! The table of subcommands and flags as a whole: every one is documented, and in the same form.

use std::collections::BTreeSet;

use clap::{Arg, Command};
use skycap::cli::Cli;

use super::{skycap, text};

/// Every subcommand with its path, such as `rollout start`; without clap's own `help`.
fn subcommands() -> Vec<(String, Command)> {
    fn collect(path: &str, command: &Command, all: &mut Vec<(String, Command)>) {
        for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let path = format!("{path} {}", subcommand.get_name()).trim().to_owned();
            collect(&path, subcommand, all);
            all.push((path, subcommand.clone()));
        }
    }
    let mut skycap = Cli::command_line();
    skycap.build();
    let mut all = Vec::new();
    collect("", &skycap, &mut all);
    all
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn every_subcommand_says_in_one_line_what_it_does() {
    let all = subcommands();
    assert!(all.len() > 20, "{} subcommands", all.len());
    for (path, command) in all {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!((10..=80).contains(&about.len()), "{path}: {} bytes: {about}", about.len());
        assert!(!about.contains('\n') && !about.ends_with('.'), "{path}: {about}");
        let verb = about.split([' ', ',']).next().unwrap_or_default();
        assert!(VERBS.contains(&verb), "{path}: `{verb}` in `{about}`");
    }
}

#[test]
fn every_flag_has_a_help_text_and_a_value_name_of_the_list() {
    for (path, command) in subcommands() {
        for arg in shown(&command).filter(|arg| !arg.is_hide_set()) {
            let (id, help) = (arg.get_id(), help(arg));
            assert!(help.len() >= 5 && !help.ends_with('.'), "{path} {id}: `{help}`");
            assert!(help.starts_with(char::is_uppercase), "{path} {id}: `{help}`");
            let takes_value = arg.get_action().takes_values();
            for name in arg.get_value_names().into_iter().flatten().filter(|_| takes_value) {
                assert!(VALUES.contains(&name.as_str()), "{path} {id}: `{name}`");
            }
        }
    }
}

#[test]
fn a_short_flag_means_the_same_everywhere() {
    let mut meanings = std::collections::BTreeMap::new();
    for (path, command) in subcommands() {
        let mut seen = BTreeSet::new();
        for (short, arg) in command.get_arguments().filter_map(|a| Some((a.get_short()?, a))) {
            assert!(seen.insert(short), "{path}: -{short} is there twice");
            // `-h` is clap's, and says `--help` or not by whether there is more to say.
            let id = arg.get_id().to_string();
            let known = meanings.entry(short).or_insert_with(|| id.clone());
            assert_eq!(known, &id, "{path}: -{short}");
        }
    }
    let shorts: String = meanings.into_keys().collect();
    assert_eq!(shorts, "AHfhno");
}

#[test]
fn a_command_shows_only_the_flags_that_it_needs() -> std::io::Result<()> {
    for (path, command) in subcommands() {
        let flags: BTreeSet<_> = shown(&command).filter_map(Arg::get_long).collect();
        let has = |flag: &str| flags.contains(flag);
        let installs = ["sync", "install", "render", "controller"].contains(&path.as_str());
        assert_eq!(has("module-url"), installs || path == "rollout start", "{path}");
        assert_eq!(has("module-pull-secret") && has("plugin"), installs, "{path}");
        assert_eq!(has("image"), ["install", "render", "up"].contains(&path.as_str()), "{path}");
        let namespaced = [
            "up",
            "down",
            "list",
            "explain",
            "wait",
            "test",
            "check",
            "enable",
            "disable",
            "render",
            "render sandbox",
        ];
        assert_eq!(has("namespace"), namespaced.contains(&path.as_str()), "{path}");
        let (lists, reads) = (
            ["list", "check"],
            ["list", "check", "explain", "sync", "compile", "up", "down", "render sandbox"],
        );
        assert_eq!(has("all-namespaces"), lists.contains(&path.as_str()), "{path}");
        assert_eq!(has("filename"), reads.contains(&path.as_str()), "{path}");
    }
    // As they are printed, too.
    for command in ["explain", "status", "check"] {
        let output = skycap(&[command, "-h"])?;
        let printed = text(&output.stdout);
        assert!(output.status.success() && printed.contains("--output"), "{printed}");
        assert!(!printed.contains("--module") && !printed.contains("--image"), "{printed}");
    }
    Ok(())
}

#[test]
fn an_unknown_flag_is_wrong_usage_of_every_subcommand() -> std::io::Result<()> {
    for (path, _) in subcommands() {
        let args: Vec<_> = path.split(' ').chain(["--no-such-flag"]).collect();
        let output = skycap(&args)?;
        assert_eq!(output.status.code(), Some(2), "{path}: {output:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains("--no-such-flag"));
    }
    Ok(())
}

#[test]
fn global_flags_are_taken_before_and_after_every_subcommand() {
    for args in [
        "skycap -n shop --context test list",
        "skycap list -n shop --context test",
        "skycap --context test status",
        "skycap -n shop version --client",
    ] {
        let matches = Cli::command_line().try_get_matches_from(args.split(' '));
        let matches = matches.unwrap_or_else(|error| panic!("{args}: {error}"));
        let value = |id: &str| matches.get_one::<String>(id).map(String::as_str);
        assert_eq!(value("namespace"), args.contains("-n").then_some("shop"), "{args}");
        assert_eq!(value("context"), args.contains("--context").then_some("test"), "{args}");
    }
}

/// The imperatives that an `about` begins with.
const VERBS: [&str; 21] = [
    "Check", "Compile", "Create", "Delete", "Disable", "Enable", "Explain", "Find", "Give",
    "Install", "List", "Print", "Push", "Remove", "Route", "Run", "Show", "Try", "Update", "Wait",
    "Write",
];
/// The names of values in the help.
const VALUES: [&str; 28] = [
    "ADDRESS",
    "COMMAND",
    "CURL",
    "DURATION",
    "FILE",
    "FOLDER",
    "FORMAT",
    "GROUP",
    "IMAGE",
    "KIND",
    "LABELS",
    "LAYOUT",
    "MESH",
    "NAME",
    "NAME: VALUE",
    "NAME=VALUE",
    "NAMESPACE",
    "OUTPUT",
    "PATH",
    "RFC3339",
    "ROLE",
    "SECRET",
    "SERVICE[.NAMESPACE][:PORT]",
    "SHELL",
    "STATE",
    "URL",
    "WORKLOAD",
    "[CONTAINER=]IMAGE",
];

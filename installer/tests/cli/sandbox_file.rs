//! What a sandbox file and its flags must be, before a cluster is asked.

use std::fs;

use super::{command, text};

/// A mistake in the flags is wrong usage, one in the file is not. Each names what was probably meant.
#[test]
fn what_has_no_effect_is_refused() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = "sandbox: pr-${PR}\nforks: {cart: {image: '${IMAGE}'}}\n";
    let kind = "sandbox: pr-1\nlabels: {skycap.dev/pull-requst: '1'}\nforks: {cart: {}}\n";
    let one = "cart: {kind: Deployment}";
    for (given, args, code, expected) in [
        (file, &["--set", "PR=1", "--set", "IMGE=x"][..], 2, "did you mean `IMAGE`?"),
        (file, &["--set", "PR=1", "--set", "COLOR=x"], 2, "expected one of IMAGE, PR"),
        (file, &["--set", "PR=1"], 1, "variable `IMAGE` is not set"),
        ("forks: [", &["--set", "PR=1"], 1, "invalid YAML at line 1"),
        ("sandbox: pr-1\nforks: {cart: {}}", &["--set", "PR=1"], 2, "it uses none"),
        (kind, &[], 1, "labels.skycap.dev/pull-requst: unknown label"),
        ("sandbox: pr-1\nforks: {}", &[], 1, "sandbox `pr-1` forks nothing"),
        ("sandbox: pr-1\n---\nsandbox: pr-2\n", &[], 1, "several documents; expected one"),
        ("sandbox: pr-1\nforks: {cart: {}}", &[], 1, "nothing was changed: deployment/cart"),
    ] {
        let (spec, manifests) =
            (folder.path().join("skycap.yaml"), folder.path().join("none.yaml"));
        fs::write(&spec, given)?;
        fs::write(&manifests, one)?;
        let render = ["render", "sandbox", "-f"];
        let mut command = command(&render);
        command.arg(&spec).args(args).arg("--from").arg(&manifests);
        let output = command.env_remove("IMAGE").env_remove("PR").output()?;
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.contains(expected)), (Some(code), true), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    for (args, expected) in [
        (&["--label", "skycap.dev/kind=group"][..], "`skycap.dev/kind` is skycap's own"),
        (&["--label", "skycap.dev/ower=me"], "did you mean `skycap.dev/owner`?"),
        (&["--set", "PR=1"], "it uses none"),
    ] {
        let up = [&["up", "pr-1", "--fork", "cart"], args].concat();
        let output = command(&up).current_dir(folder.path()).output()?;
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.contains(expected)), (Some(2), true), "{said}");
    }
    Ok(())
}

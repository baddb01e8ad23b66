//! `explain --queue`: where a message goes, as the splitter decides it.

use std::fs;

use super::{examples, skycap, text};

const SANDBOXES: &str = "
kind: ConfigMap
metadata: {name: pr-1, namespace: shop, labels: {skycap.dev/kind: sandbox}}
data: {key: one, queues: orders, onUnavailable: fail}
---
kind: ConfigMap
metadata: {name: pr-2, namespace: shop, labels: {skycap.dev/kind: sandbox}}
data: {queues: orders, enabled: 'false'}
---
kind: ConfigMap
metadata: {name: pr-3, namespace: shop, labels: {skycap.dev/kind: sandbox}}
data: {routes: 'cart: cart-pr-3'}
";

#[test]
fn explain_says_where_a_message_goes_and_why() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let sandboxes = folder.path().join("sandboxes.yaml");
    fs::write(&sandboxes, SANDBOXES)?;
    let (sandboxes, queue) = (sandboxes.display().to_string(), examples() + "/queue/queue.yaml");
    let explain = ["explain", "-f", &queue, &sandboxes, "-n", "shop", "--queue", "orders"];
    for (headers, expected) in [
        (
            &["baggage: sandbox=one"][..],
            &["orders  -->  orders.pr-1\n", "it waits in its topic"][..],
        ),
        // Several headers form one list, in which the last member wins.
        (&["baggage: sandbox=pr-2", "Baggage: a=1,sandbox=one"], &["orders  -->  orders.pr-1\n"]),
        (&["x-sandbox: one"], &["orders  -->  orders.baseline\n", "the message has no key"]),
        (&["baggage: sandbox=pr-2"], &["orders.baseline\n", "`skycap enable pr-2 -n shop`"]),
        (&["baggage: sandbox=pr-3"], &["orders.baseline\n", "add `orders` to `queues`"]),
        (&["baggage: sandbox=pr-4"], &["orders.baseline\n", "`skycap list -A`"]),
    ] {
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        let args: Vec<_> = explain.into_iter().chain(headers).collect();
        let output = skycap(&args)?;
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    }
    let missing = skycap(&["explain", "-f", &queue, "-n", "mall", "--queue", "orders"])?;
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("queue `orders` not found in namespace `mall`"));
    let both = skycap(&["explain", "--queue", "orders", "--to", "cart"])?;
    assert_eq!(both.status.code(), Some(2));
    Ok(())
}

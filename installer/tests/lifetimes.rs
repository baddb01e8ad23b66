//! What ends and what belongs together: `deleteExpired` in the settings, `match` in a group.

use jiff::{Timestamp, ToSpan as _};
use skycap::table::{
    compile::{Compilation, compile},
    input::Input,
    manifests::Manifests,
};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

fn compiled(yaml: &str, now: Timestamp) -> Compilation {
    let mut manifests = Manifests::default();
    manifests.add(yaml, "file.yaml");
    compile(&Input::new(&manifests, now), now)
}

fn map(name: &str, labels: &str, data: &str) -> String {
    format!(
        "---\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: \
         '2026-11-01T00:00:00Z', labels: {{{labels}}}}}\ndata: {{{data}}}\n"
    )
}

fn settings(data: &str) -> String {
    format!(
        "---\nkind: ConfigMap\nmetadata: {{name: skycap, namespace: skycap-system}}\ndata: {{{data}}}\n"
    )
}

#[test]
fn what_ended_is_deleted_after_a_time() {
    let end = NOW.checked_sub(30.minutes()).unwrap_or(NOW);
    let over =
        map("over", "skycap.dev/kind: sandbox", &format!("expires: '{end}', routes: 'cart: a'"));
    // Killed half-way, `up` leaves it disabled.
    let off = map(
        "idle",
        "skycap.dev/kind: group",
        &format!("expires: '{end}', enabled: 'false', members: over"),
    );
    let for_ever = map("ever", "skycap.dev/kind: sandbox", "routes: 'cart: b'");
    let all = over + &off + &for_ever;
    for (given, minutes, expected) in [
        ("", 0, &[][..]),
        ("", 31, &["idle", "over"]),
        ("deleteExpired: 10m", 0, &["idle", "over"]),
        ("deleteExpired: never", 1_000, &[]),
        ("deleteExpired: 2h", 31, &[]),
        // Another namespace takes part, and this one does not.
        ("deleteExpired: 10m, namespaces: team=other", 0, &[]),
        // Nothing is deleted by settings that nobody understands.
        ("deleteExpired: soon", 1_000, &[]),
    ] {
        let yaml =
            all.clone() + &settings(given) + "---\nkind: Namespace\nmetadata: {name: shop}\n";
        let now = NOW.checked_add(minutes.minutes()).unwrap_or(NOW);
        let compilation = compiled(&yaml, now);
        let mut names: Vec<_> =
            compilation.overdue.iter().map(|one| one.reference.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "`{given}` {minutes} minutes later");
        // The controller wakes up when the next one is due.
        if given.is_empty() && minutes == 0 {
            let due = end.checked_add(1.hour()).ok();
            assert_eq!(compilation.valid_until, due);
        }
    }
}

#[test]
fn what_is_deleted_already_is_not_deleted_again() {
    let over = map("over", "skycap.dev/kind: sandbox", "ttl: 1h, routes: 'cart: a'");
    let kept = over
        .replace("namespace: shop", "namespace: shop, deletionTimestamp: '2026-11-02T00:00:00Z'");
    for (maps, expected) in [(over, 1), (kept, 0)] {
        assert_eq!(compiled(&(maps + &settings("")), NOW).overdue.len(), expected);
    }
}

#[test]
fn a_group_joins_the_sandboxes_that_its_labels_match() {
    let sandboxes = [
        map("web", "skycap.dev/kind: sandbox, release: '42', team: a", "routes: 'web: web-42'"),
        map("cart", "skycap.dev/kind: sandbox, release: '42'", "routes: 'cart: cart-42'"),
        map("late", "skycap.dev/kind: sandbox, release: '41'", "routes: 'cart: cart-41'"),
        map(
            "idle",
            "skycap.dev/kind: sandbox, release: '42'",
            "enabled: 'false', routes: 'db: db-42'",
        ),
        map("over", "skycap.dev/kind: sandbox, release: '42'", "ttl: 1h, routes: 'db: db-42'"),
        map("own", "skycap.dev/kind: sandbox", "routes: 'cart: cart-own'"),
    ]
    .concat();
    let elsewhere = map("far", "skycap.dev/kind: sandbox, release: '42'", "routes: 'db: db-far'")
        .replace("namespace: shop", "namespace: other");
    for (data, expected) in [
        ("match: release=42", &["cart -> cart-42", "web -> web-42"][..]),
        ("match: 'release=42, team=a'", &["web -> web-42"]),
        // Members come first.
        ("match: release=42, members: own", &["cart -> cart-own", "web -> web-42"]),
        ("match: release=43", &[]),
    ] {
        let group = map("joint", "skycap.dev/kind: group", data);
        let compilation = compiled(&(sandboxes.clone() + &elsewhere + &group), NOW);
        assert!(!compilation.report.refuses(), "{:?}", compilation.report.problems);
        let config = compilation.config.unwrap_or_default();
        let numbers = config.keys.iter().find(|(name, _)| *name == "joint");
        let routes = numbers.into_iter().flat_map(|(_, numbers)| numbers.iter());
        let routes = routes.filter_map(|number| config.routes.get(usize::try_from(*number).ok()?));
        let mut routes: Vec<_> =
            routes.map(|route| format!("{} -> {}", route.service.name(), route.to)).collect();
        routes.sort();
        assert_eq!(routes, expected, "`{data}`");
    }
    for wrong in ["match: release", "match: ', a=b'", "match: '=a'"] {
        let group = map("joint", "skycap.dev/kind: group", wrong);
        assert!(compiled(&group, NOW).report.refuses(), "`{wrong}`");
    }
}

/// One label may select every sandbox of a namespace, at no cost to who writes it.
#[test]
fn a_group_joins_no_more_by_its_labels_than_by_its_members() {
    let labels = "skycap.dev/kind: sandbox, release: '42'";
    let sandboxes = |count: u32| -> String {
        let one = |i| map(&format!("s{i:03}"), labels, &format!("routes: 'app-{i}: fork-{i}'"));
        (0..count).map(one).collect()
    };
    let group = map("joint", "skycap.dev/kind: group", "match: release=42, members: s063");
    for (count, expected) in [(64, false), (65, true)] {
        let compilation = compiled(&(sandboxes(count) + &group), NOW);
        let config = compilation.config.unwrap_or_default();
        let joined = config.keys.iter().find(|(name, _)| *name == "joint");
        assert_eq!(joined.map(|(_, numbers)| numbers.len()), Some(64), "{count}");
        let is_warned = compilation.report.problems.iter().any(|one| one.field == "data.match");
        assert_eq!(is_warned, expected, "{count}: {:?}", compilation.report.problems);
    }
}

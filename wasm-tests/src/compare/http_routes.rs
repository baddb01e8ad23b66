//! The cost of HTTPRoutes: 2,000 sandboxes of three routes each, over 50 Services.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::ensure;
use jiff::Timestamp;
use skycap::{
    desired::gateway_api::HttpRoutes,
    objects::Object,
    table::{compile::compile, input::Input, manifests::Manifests},
};

use super::{Measured, Row};

/// Times and sizes of all HTTPRoutes, and what one more sandbox changes.
///
/// # Errors
/// If a generated ConfigMap is rejected, or if one more sandbox changes too many HTTPRoutes.
pub fn http_routes() -> anyhow::Result<Measured> {
    let (before, compile, adapt) = adapted(SANDBOXES)?;
    let (after, ..) = adapted(SANDBOXES + 1)?;
    let (before, after) = (by_name(&before)?, by_name(&after)?);
    let total: usize = before.values().map(String::len).sum();
    let rewritten = before.iter().filter(|(name, text)| after.get(*name) != Some(text)).count();
    let created = after.keys().filter(|name| !before.contains_key(*name)).count();
    let bytes: usize = after
        .iter()
        .filter(|(name, text)| before.get(*name) != Some(text))
        .map(|(_, text)| text.len())
        .sum();
    ensure!(rewritten <= ROUTES, "one sandbox of {ROUTES} routes rewrites {rewritten} HTTPRoutes");
    let row = |name: &str, value: String| Row { name: name.into(), values: vec![value] };
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    Ok(Measured {
        title: format!(
            "HTTPRoutes: {SANDBOXES} sandboxes of {ROUTES} routes over {SERVICES} Services"
        ),
        columns: vec!["what", "figure"],
        rows: vec![
            row("the table from the ConfigMaps", milliseconds(compile)),
            row("the HTTPRoutes from the table", milliseconds(adapt)),
            row("HTTPRoutes", before.len().to_string()),
            row("all of them, as JSON", format!("{} KiB", total / 1024)),
            row("one more sandbox: HTTPRoutes rewritten", rewritten.to_string()),
            row("one more sandbox: HTTPRoutes created", created.to_string()),
            row("one more sandbox: bytes written", bytes.to_string()),
        ],
    })
}

/// The HTTPRoutes of this many sandboxes, and the times for the table and for the HTTPRoutes.
fn adapted(sandboxes: usize) -> anyhow::Result<(Vec<Object>, Duration, Duration)> {
    let mut manifests = Manifests::default();
    manifests.add(&yaml(sandboxes)?, "generated");
    let now = Timestamp::now();
    let input = Input::new(&manifests, now);
    let begun = Instant::now();
    let compilation = compile(&input, now);
    let compiled = begun.elapsed();
    ensure!(!compilation.report.refuses(), "a generated ConfigMap was rejected");
    let config = compilation.config.unwrap_or_default();
    let begun = Instant::now();
    let routes = HttpRoutes::new(&config, &input.cluster, &input.policies, &input.meshes());
    let adapted = begun.elapsed();
    ensure!(routes.problems.is_empty(), "{:?}", routes.problems);
    Ok((routes.objects, compiled, adapted))
}

fn yaml(sandboxes: usize) -> anyhow::Result<String> {
    let mut yaml = String::new();
    let service = |yaml: &mut String, name: &str| {
        writeln!(
            yaml,
            "---\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}"
        )
    };
    for number in 0..SERVICES {
        service(&mut yaml, &format!("s{number}"))?;
    }
    for number in 0..sandboxes {
        writeln!(
            yaml,
            "---\nkind: ConfigMap\nmetadata: {{name: pr-{number}, namespace: shop, labels: \
             {{skycap.dev/kind: sandbox}}}}\ndata:\n  routes: |"
        )?;
        let names: Vec<_> =
            (0..ROUTES).map(|route| format!("s{}", (number * 7 + route * 11) % SERVICES)).collect();
        for name in &names {
            writeln!(yaml, "    {name}: {name}-pr-{number}")?;
        }
        for name in &names {
            service(&mut yaml, &format!("{name}-pr-{number}"))?;
        }
    }
    Ok(yaml)
}

fn by_name(objects: &[Object]) -> anyhow::Result<BTreeMap<String, String>> {
    let of = |object: &Object| Ok((object.reference().name, serde_json::to_string(object)?));
    objects.iter().map(of).collect()
}

const SANDBOXES: usize = 2_000;
const ROUTES: usize = 3;
const SERVICES: usize = 50;

//! Postgres: a Pod of its own, and a copy of a template on the baseline's server.

use std::time::Instant;

use skycap_tests::{cluster::Image, fixture::Fixture};

use super::{down, example_of, permit_jobs, up};

/// How many rows the baseline has, and the last one.
pub(super) async fn rows(fixture: &Fixture) -> anyhow::Result<String> {
    fixture.shell("app=orders", ROWS).await
}

/// With the files of the examples, as their README shows them.
pub(super) async fn a_pod_of_its_own(fixture: &Fixture) -> anyhow::Result<()> {
    let image = format!("IMAGE={}", Image::reference("orders"));
    let file = example_of("skycap.yaml");
    let up = ["up", "-f", &file.to_string_lossy(), "--set", "PR=9", "--set", &image];
    let begun = Instant::now();
    println!("{}", fixture.skycap(&up).await?);
    println!("up pr-9, a Postgres of its own: {} ms", begun.elapsed().as_millis());
    // The seed, and the column of the migration.
    let fork = "skycap.dev/fork=deployment.orders,skycap.dev/sandbox=pr-9";
    let own = fixture.shell(fork, ROWS).await?;
    anyhow::ensure!(own == "2|2", "{own}");
    let insert = "psql \"$DATABASE_URL\" -c \"INSERT INTO orders (item, note) SELECT 'x', 'y' FROM generate_series(1, 500)\"";
    fixture.shell(fork, insert).await?;
    fixture.shell(fork, "psql \"$DATABASE_URL\" -c 'DELETE FROM orders WHERE id = 1'").await?;
    let own = fixture.shell(fork, ROWS).await?;
    anyhow::ensure!(own == "501|502", "{own}");
    // Another `up` moves the end, and keeps the password and the data.
    let plan = fixture.skycap(&[&up[..], &["--dry-run"]].concat()).await?;
    let is_step =
        |line: &&str| ["create", "change", "delete"].iter().any(|verb| line.starts_with(verb));
    anyhow::ensure!(plan.lines().filter(is_step).eq(["change ConfigMap shop/pr-9"]), "{plan}");
    fixture.skycap(&up).await?;
    anyhow::ensure!(fixture.shell(fork, ROWS).await? == own, "another `up` has changed the rows");
    Ok(())
}

/// Its end is a Job, which the controller runs where it is permitted.
pub(super) async fn a_copy_of_a_template(fixture: &Fixture) -> anyhow::Result<()> {
    let file = "resources: [orders-copy]\nforks: {orders: {}}\n";
    let denied = up(fixture, "pr-10", file).await.err().map(|error| error.to_string());
    let denied = denied.unwrap_or_default();
    anyhow::ensure!(denied.contains("has no permission to run Jobs"), "{denied}");
    permit_jobs(fixture).await?;
    up(fixture, "pr-10", file).await?;
    let fork = "skycap.dev/fork=deployment.orders,skycap.dev/sandbox=pr-10";
    let own = fixture.shell(fork, ROWS).await?;
    anyhow::ensure!(own == "1000|1000", "{own}");
    let change = "ALTER TABLE orders DROP COLUMN item; DELETE FROM orders WHERE id > 10";
    fixture.shell(fork, &format!("psql \"$DATABASE_URL\" -c '{change}'")).await?;
    let own = fixture.shell(fork, ROWS).await?;
    anyhow::ensure!(own == "10|10", "{own}");
    // Nothing but its own database is open to it.
    let other = "psql \"$(echo $DATABASE_URL | sed 's,/orders-copy-pr-10$,/orders,')\" -c 'SELECT * FROM orders'";
    anyhow::ensure!(fixture.shell(fork, other).await.is_err(), "it reads the baseline's rows");
    anyhow::ensure!(databases(fixture).await?.contains("orders-copy-pr-10"), "no copy");
    down(fixture, "pr-10").await?;
    let left = databases(fixture).await?;
    anyhow::ensure!(!left.contains("pr-10"), "left: {left}");
    Ok(())
}

/// The sandbox routes nothing any more, its resource stays and says why, until somebody decides.
pub(super) async fn a_job_that_fails(fixture: &Fixture) -> anyhow::Result<()> {
    up(fixture, "pr-11", "resources: [orders-copy]\nforks: {orders: {}}\n").await?;
    let admin = "psql \"$DATABASE_URL\" -c";
    fixture
        .shell(
            "app=orders",
            &format!("{admin} 'CREATE DATABASE other OWNER \"orders-copy-pr-11\"'"),
        )
        .await?;
    let down = ["down", "pr-11", "-n", "shop"];
    let said = fixture.skycap_fails(&[&down[..], &["--timeout", "5s"]].concat(), 1).await?;
    anyhow::ensure!(said.contains("configmap/orders-copy-pr-11"), "{said}");
    anyhow::ensure!(said.contains("--force"), "{said}");
    fixture
        .until("an Event says that the Job has failed", async |fixture| {
            let notes = fixture.notes("orders-copy-pr-11").await?;
            Ok(notes.iter().any(|note| note.contains("orders-copy-pr-11-delete has failed")))
        })
        .await?;
    println!("{}", fixture.skycap(&[&down[..], &["--force"]].concat()).await?);
    Ok(())
}

async fn databases(fixture: &Fixture) -> anyhow::Result<String> {
    fixture.shell("app=orders", "psql \"$DATABASE_URL\" -Atl").await
}

const ROWS: &str = "psql \"$DATABASE_URL\" -Atc 'SELECT count(*), max(id) FROM orders'";

//! Redis in a Pod of its own, and SQLite in a volume of the fork.

use std::time::Instant;

use skycap_tests::{cluster::Image, fixture::Fixture};

use super::{example_of, up};

/// How many keys and notes the baseline has.
pub(super) async fn counts(fixture: &Fixture) -> anyhow::Result<[String; 2]> {
    Ok([fixture.shell("app=web", KEYS).await?, fixture.shell("app=notes", NOTES).await?])
}

pub(super) async fn a_redis_of_its_own(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.shell("app=web", "for i in 1 2 3; do redis-cli -u $REDIS_URL set $i x; done").await?;
    up(fixture, "pr-12", "resources: [sessions]\nforks: {web: {}}\n").await?;
    let fork = "skycap.dev/fork=deployment.web,skycap.dev/sandbox=pr-12";
    let own = fixture.shell(fork, KEYS).await?;
    anyhow::ensure!(own == "0", "{own} keys");
    fixture
        .shell(fork, "redis-cli -u $REDIS_URL set 4 y; redis-cli -u $REDIS_URL flushall")
        .await?;
    fixture.shell(fork, "redis-cli -u $REDIS_URL set 5 y").await?;
    let own = fixture.shell(fork, KEYS).await?;
    anyhow::ensure!(own == "1", "{own} keys");
    // Nobody gets in without the password.
    let other = "redis-cli -h sessions-pr-12 dbsize 2>&1 | grep -q NOAUTH";
    fixture.shell("app=web", other).await.map(drop)
}

/// With the file of the example: there is no resource.
pub(super) async fn a_copy_of_a_file(fixture: &Fixture) -> anyhow::Result<()> {
    let image = format!("IMAGE={}", Image::reference("sqlite"));
    let file = example_of("sqlite.yaml");
    let begun = Instant::now();
    fixture
        .skycap(&["up", "-f", &file.to_string_lossy(), "--set", "PR=13", "--set", &image])
        .await?;
    println!("up pr-13, a copy of a file: {} ms", begun.elapsed().as_millis());
    let fork = "skycap.dev/fork=deployment.notes,skycap.dev/sandbox=pr-13";
    let before = fixture.shell(fork, NOTES).await?;
    anyhow::ensure!(before == "3", "{before} notes");
    fixture.shell(fork, "sqlite3 /data/notes.db 'DELETE FROM notes WHERE text < 3'").await?;
    let own = fixture.shell(fork, NOTES).await?;
    anyhow::ensure!(own == "1", "{own} notes");
    Ok(())
}

const KEYS: &str = "redis-cli -u $REDIS_URL dbsize";
const NOTES: &str = "sqlite3 /data/notes.db 'SELECT count(*) FROM notes'";

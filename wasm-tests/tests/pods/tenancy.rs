//! The example of tenants in one database, on a real Postgres: many requests of many sandboxes share few
//! connections, and none of them sees or writes a row of another sandbox.

mod application;

use std::time::Instant;

use futures_util::future::try_join_all;
use serde_json::json;
use skycap_tests::cluster::machine;

use self::application::{Application, Session, prepare};

#[test]
fn no_request_sees_or_writes_rows_of_another_sandbox() -> anyhow::Result<()> {
    let name = "tenancy::no_request_sees_or_writes_rows_of_another_sandbox";
    machine::run_inside(name, prepare, || {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            let application = Application::start(str::to_owned).await?;
            let begun = Instant::now();
            let found = requests(&application, REQUESTS).await?;
            println!("{REQUESTS} requests in {:.1} s", begun.elapsed().as_secs_f64());
            anyhow::ensure!(found == 0, "{found} requests saw or changed another sandbox's rows");
            anyhow::ensure!(application.misplaced_rows()? == 0, "rows under another key");
            drop(application);
            // The test itself: without the hook, it finds what it looks for.
            let hook = "str(baggage.get_baggage(\"sandbox\") or \"\")";
            let without = Application::start(|code| code.replace(hook, "\"\"")).await?;
            let found = requests(&without, REQUESTS / 20).await?;
            println!("without the hook, {found} requests of {} fail", REQUESTS / 20);
            anyhow::ensure!(found > 0, "the test finds nothing");
            Ok(())
        })
    })
}

/// Sends requests of all sandboxes at once. Returns how many saw or changed what is not theirs.
async fn requests(application: &Application, count: usize) -> anyhow::Result<usize> {
    let address = application.address();
    let sessions = (0..SESSIONS).map(|session| {
        // Whole turns: what one session adds, no other one deletes.
        let end = count / SESSIONS / 3 * 3;
        async move {
            let mut connection = Session::open(address).await?;
            let mut wrong = 0;
            for step in 0..end {
                let number = session * end + step;
                wrong += usize::from(!is_kept_apart(&mut connection, number).await?);
            }
            anyhow::Ok(wrong)
        }
    });
    Ok(try_join_all(sessions).await?.into_iter().sum())
}

/// Whether a request works with the rows of its own sandbox alone. Each one in turn lists rows, adds one,
/// and tries to delete another sandbox's.
async fn is_kept_apart(session: &mut Session, number: usize) -> anyhow::Result<bool> {
    let key = key_of(number);
    let item = |of: &str, number: usize| json!({"item": format!("{of}/{number}")});
    Ok(match number % 3 {
        0 => {
            let rows = session.send(key, "/orders", None).await?;
            let rows: Vec<String> = serde_json::from_value(rows)?;
            rows.iter().all(|row| row.split('/').next() == Some(key))
        }
        1 => session.send(key, "/orders", Some(item(key, number))).await? == json!({}),
        _ => {
            // What the request before this one in the same session has just added.
            let before = key_of(number - 1);
            let deleted =
                session.send(key, "/orders/delete", Some(item(before, number - 1))).await?;
            deleted["deleted"] == usize::from(before == key)
        }
    })
}

/// Every key for each of the three requests, and now and then the same key in a row.
fn key_of(number: usize) -> &'static str {
    KEYS[(number / 3 + number % 3 * (number / 18)) % KEYS.len()]
}

/// The first one is the baseline.
const KEYS: [&str; 6] = ["baseline", "pr-1", "pr-2", "pr-3", "team-payments", "PR_4.~"];
const REQUESTS: usize = 10_050;
/// Many more than the pool has connections.
const SESSIONS: usize = 50;

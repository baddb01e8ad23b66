//! Requests for the pricing, all the time, and whether each is answered by the right Service.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use skycap_tests::fixture::istio_shop::send_from;
use tokio::task::JoinHandle;

/// The key of most clients' requests.
pub(super) const KEY: (&str, &str) = ("baggage", "sandbox=pr-2");

/// Clients that send one request after the other, until they are stopped.
pub(super) struct Load {
    running: Arc<AtomicBool>,
    clients: Vec<Client>,
}

/// The requests of one client for the pricing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requests {
    /// The workload whose sidecar sends them.
    pub(super) from: &'static str,
    /// The key in their baggage, if they have one.
    pub(super) key: Option<(&'static str, &'static str)>,
    /// The Service that must answer.
    pub(super) answered_by: &'static str,
}

struct Client {
    expected: Arc<Mutex<Vec<&'static str>>>,
    task: JoinHandle<anyhow::Result<Answers>>,
}

/// The answers that one client got.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) right: usize,
    /// Errors, and answers with another status than 200.
    pub(super) lost: usize,
    /// Answers of a Service that was not expected.
    pub(super) wrong: usize,
    /// The first that was lost or wrong.
    first: Option<String>,
}

impl Load {
    /// Starts a client for each of these.
    pub(super) fn start(clients: &[Requests]) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let start = |requests: &Requests| {
            let expected = Arc::new(Mutex::new(vec![requests.answered_by]));
            let sending = send(*requests, Arc::clone(&expected), Arc::clone(&running));
            Client { expected, task: tokio::spawn(sending) }
        };
        Self { clients: clients.iter().map(start).collect(), running }
    }

    /// From now on, the client with this number expects answers of these Services.
    pub(super) fn expect(&self, client: usize, services: &[&'static str]) -> anyhow::Result<()> {
        let client = self.clients.get(client).context("no such client")?;
        let mut expected = client.expected.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        *expected = services.to_vec();
        Ok(())
    }

    /// Stops all clients. Returns their answers.
    pub(super) async fn stop(self) -> anyhow::Result<Vec<Answers>> {
        self.running.store(false, Ordering::Relaxed);
        let mut answers = Vec::new();
        for client in self.clients {
            answers.push(client.task.await??);
        }
        Ok(answers)
    }
}

impl Answers {
    /// Checks that none was lost or wrong, and that there were many.
    pub(super) fn are_all_right(&self) -> anyhow::Result<()> {
        let is_well = self.lost == 0 && self.wrong == 0 && self.right > 100;
        anyhow::ensure!(is_well, "{self:?}");
        Ok(())
    }
}

async fn send(
    requests: Requests,
    expected: Arc<Mutex<Vec<&'static str>>>,
    running: Arc<AtomicBool>,
) -> anyhow::Result<Answers> {
    let expected = || anyhow::Ok(expected.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone());
    let mut answers = Answers::default();
    while running.load(Ordering::Relaxed) {
        // The expectation may change while the request is on its way: then both count.
        let before = expected()?;
        let answer = send_from(requests.from, "pricing.shop", requests.key.as_slice()).await;
        let allowed = [before, expected()?].concat();
        let problem = match answer {
            Ok(answer) if allowed.contains(&answer.as_str()) => {
                answers.right += 1;
                None
            }
            Ok(answer) if answer.starts_with("pricing") => {
                answers.wrong += 1;
                Some(answer)
            }
            other => {
                answers.lost += 1;
                Some(format!("{other:?}"))
            }
        };
        answers.first = answers.first.or(problem);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(answers)
}

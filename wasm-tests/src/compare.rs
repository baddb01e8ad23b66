//! `cargo compare`: the cost of a request, compared with the other ways to route it on a stock
//! Istio.
//!
//! Machines differ by a factor of four and are noisy, so only ratios within one run mean anything.
//! A closed loop over HTTP/1.1 hides a filter behind system calls. Therefore the load is HTTP/2
//! with many streams on few connections, the response is direct instead of from an upstream, and
//! the time is CPU time from schedstat. All variants take turns in many short rounds. The result is
//! the median of the ratios within a round, with the quartiles.

mod control_plane;
mod environments;
mod http_routes;
mod latency;
mod load;
mod queue;
mod tables;
mod variants;

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use self::{
    control_plane::control_plane,
    environments::{environments, on_machine},
    http_routes::http_routes,
    latency::latencies,
    queue::queue,
    tables::configure,
};
use self::{load::Connections, variants::Variant};
use crate::{envoy::Process, progress::Progress};

/// One row of a result.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The first column: the variant.
    pub name: String,
    /// The other columns, as they are printed.
    pub values: Vec<String>,
}

/// A result, as a table.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// What was measured, in a sentence.
    pub title: String,
    /// The names of the columns. The first one is the variant's.
    pub columns: Vec<&'static str>,
    /// One row for each variant.
    pub rows: Vec<Row>,
}

/// The CPU time of a request in every variant, as a ratio to the null filter on the Rust SDK.
///
/// # Errors
/// If an Envoy does not start, or if a response does not have status 200.
pub async fn cpu(envoy: &Path, rounds: usize, folder: &Path) -> anyhow::Result<Measured> {
    let variants = variants::all(folder)?;
    let mut envoys: BTreeMap<String, (Process, Connections)> = BTreeMap::new();
    {
        let _progress = Progress::new("starting an Envoy for each configuration");
        for variant in &variants {
            if !envoys.contains_key(&variant.envoy) {
                let place = folder.join(&variant.envoy);
                std::fs::create_dir_all(&place)?;
                let process =
                    Process::start(envoy, &variant.bootstrap(), "compare", 1, &place).await?;
                let connections = Connections::open(process.listener("listener")?).await?;
                envoys.insert(variant.envoy.clone(), (process, connections));
            }
        }
    }
    let _progress =
        Progress::new(&format!("measuring {} variants in {rounds} rounds", variants.len()));
    let mut nanoseconds = vec![Vec::new(); variants.len()];
    for round in 0..rounds + WARM_UP {
        for (variant, times) in variants.iter().zip(&mut nanoseconds) {
            let (process, connections) =
                envoys.get(&variant.envoy).context("a variant has no Envoy")?;
            // The caches hold another Envoy's code and data; these requests warm them up.
            let send = async |requests| {
                connections.send(variant, requests).await.with_context(|| variant.name.clone())
            };
            send(REQUESTS / 4).await?;
            let before = process.cpu_nanoseconds()?;
            send(REQUESTS).await?;
            let time = (process.cpu_nanoseconds()? - before) as f64 / REQUESTS as f64;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    Ok(ratios(&variants, &nanoseconds))
}

fn ratios(variants: &[Variant], nanoseconds: &[Vec<f64>]) -> Measured {
    let reference = variants.iter().position(|variant| variant.name == variants::REFERENCE);
    let reference = reference.and_then(|place| nanoseconds.get(place)).cloned().unwrap_or_default();
    let rows = variants.iter().zip(nanoseconds).map(|(variant, times)| {
        let ratios: Vec<f64> =
            times.iter().zip(&reference).map(|(time, null)| time / null).collect();
        let [low, middle, high] = quartiles(ratios);
        let [_, time, _] = quartiles(times.clone());
        Row {
            name: variant.name.clone(),
            values: vec![
                format!("{middle:.2}"),
                format!("{low:.2} to {high:.2}"),
                format!("{:.1}", time / 1000.0),
            ],
        }
    });
    Measured {
        title: "CPU time of Envoy a request, one worker, HTTP/2, direct response".into(),
        columns: vec!["variant", "ratio", "quartiles", "us"],
        rows: rows.collect(),
    }
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN))
}

impl Measured {
    /// The result as a Markdown table, which is also readable on a terminal.
    #[must_use]
    pub fn markdown(&self) -> String {
        let header = self.columns.iter().map(|column| (*column).to_owned()).collect();
        let rows = self.rows.iter().map(|row| {
            std::iter::once(row.name.clone()).chain(row.values.iter().cloned()).collect()
        });
        let lines: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0)
        };
        let text = |line: &Vec<String>| {
            let cells = line.iter().enumerate().map(|(column, cell)| {
                if column == 0 {
                    format!("{cell:<width$}", width = width(column))
                } else {
                    format!("{cell:>width$}", width = width(column))
                }
            });
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = (0..self.columns.len()).map(|column| match column {
            0 => "-".repeat(width(column) + 2),
            _ => format!("{}:", "-".repeat(width(column) + 1)),
        });
        let rule = format!("|{}|", rule.collect::<Vec<_>>().join("|"));
        let mut out: Vec<String> = lines.iter().map(text).collect();
        out.insert(1, rule);
        format!("{}\n\n{}\n", self.title, out.join("\n"))
    }
}

const WARM_UP: usize = 2;
/// Requests of one variant in one round. They take some tens of milliseconds.
const REQUESTS: usize = 5_000;

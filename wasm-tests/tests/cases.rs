//! The case table, natively and through the built module: the same cases, the same answers.

use skycap_tests::{case, module};

#[test]
fn cases_hold_natively() -> anyhow::Result<()> {
    run(case::Scenario::run_natively)
}

#[test]
fn cases_hold_in_the_module() -> anyhow::Result<()> {
    let wasm = std::fs::read(module::build()?)?;
    run(|scenario| scenario.run_in(&wasm))
}

fn run(run: impl Fn(&case::Scenario) -> anyhow::Result<Vec<String>>) -> anyhow::Result<()> {
    let scenarios = case::all()?;
    let requests: usize = scenarios.iter().map(|(_, scenario)| scenario.len()).sum();
    let mut failures = Vec::new();
    for (file, scenario) in &scenarios {
        let failed = run(scenario).unwrap_or_else(|error| vec![format!("{error:#}")]);
        failures.extend(failed.into_iter().map(|failure| format!("{file}: {failure}")));
    }
    anyhow::ensure!(requests > 0, "there are no cases");
    anyhow::ensure!(failures.is_empty(), "of {requests} cases:\n{}", failures.join("\n"));
    Ok(())
}

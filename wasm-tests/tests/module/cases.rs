//! The case table runs natively, in the built module and as HTTPRoutes: the same cases with the same
//! results.

use skycap_tests::{case, fixture::module_path, http_route_model::HttpRouteModel};

#[test]
fn cases_hold_natively() -> anyhow::Result<()> {
    run(case::Scenario::run_natively)
}

#[test]
fn cases_hold_in_the_module() -> anyhow::Result<()> {
    let wasm = std::fs::read(module_path()?)?;
    run(|scenario| scenario.run_in(&wasm))
}

#[test]
fn cases_hold_on_linkerd() -> anyhow::Result<()> {
    run(|scenario| scenario.run_on(HttpRouteModel::Linkerd))
}

#[test]
fn cases_hold_on_other_gateway_api_meshes() -> anyhow::Result<()> {
    run(|scenario| scenario.run_on(HttpRouteModel::GatewayApi))
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

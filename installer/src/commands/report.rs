//! The report of a compile, as the controller would publish it.

use crate::{
    desired::gateway_api::HttpRoutes,
    table::{compile::Compilation, input::Input, report::Report},
};

/// The report of a compile, with the problems of its HTTPRoutes where a mesh takes them: what the
/// controller would publish.
pub(crate) fn whole_report(input: &Input, compilation: Compilation) -> Report {
    let Compilation { config, mut report, .. } = compilation;
    let meshes = input.meshes();
    if let Some(config) = config.filter(|_| meshes.take_http_routes()) {
        let routes = HttpRoutes::new(&config, &input.cluster, &input.policies, &meshes);
        report.add(routes.problems);
    }
    report
}

//! The Helm chart that `skycap render --chart` writes.
//!
//! It is derived from the [installation](super::installation), so that it cannot differ from what
//! `install` applies: every combination of its options is rendered, and the combinations are merged
//! into templates with conditions. What a value replaces stands in them as a marker.

mod condition;
mod markers;
mod merge;

use anyhow::Context as _;

use self::{
    condition::{Conditions, Facts},
    markers::{mark, template, values},
    merge::merge,
};
use super::{
    installation::{File, Installation},
    istio::{IstioMesh, PluginKind},
};
use crate::table::meshes::{MeshKind, Meshes};

/// The chart's files: the path of each in the chart's folder, and its text. `image` and `module_url`
/// are the defaults of these values; without them, who installs the chart must set them.
///
/// # Errors
/// If two combinations of options differ in a way that no condition expresses.
pub fn chart(
    image: Option<&str>,
    module_url: Option<&str>,
) -> anyhow::Result<Vec<(String, String)>> {
    let variants: Vec<_> = Facts::all().map(|facts| (facts, installation(facts).files())).collect();
    let mut files = vec![
        ("Chart.yaml".to_owned(), CHART.replace("VERSION", env!("CARGO_PKG_VERSION"))),
        ("values.yaml".into(), values(VALUES, &variants, image, module_url)?),
        ("values.schema.json".into(), SCHEMA.into()),
        ("templates/_skycap.tpl".into(), DEFINITIONS.into()),
        ("templates/NOTES.txt".into(), NOTES.into()),
    ];
    for name in file_names(&variants) {
        let of_file = |(facts, files): &(Facts, Vec<File>)| {
            let file = files.iter().find(|(other, ..)| *other == name);
            let objects = file.map(|(_, _, objects)| objects.clone()).unwrap_or_default();
            (*facts, objects.into_iter().map(mark).collect())
        };
        let about = variants.iter().flat_map(|(_, files)| files).find(|(other, ..)| *other == name);
        let about = about.map(|(_, about, _)| *about).unwrap_or_default();
        let mut conditions = Conditions::default();
        let objects = merge(variants.iter().map(of_file).collect(), &mut conditions)
            .with_context(|| format!("cannot merge `{name}`"))?;
        files.push((format!("templates/{name}"), template(about, &objects, &conditions)?));
    }
    Ok(files)
}

/// The installation of one combination of options.
fn installation(facts: Facts) -> Installation {
    let kinds = [
        (facts.istio, MeshKind::Istio),
        (facts.linkerd, MeshKind::Linkerd),
        (facts.http_routes && !facts.linkerd, MeshKind::GatewayApi),
    ];
    let meshes: Meshes =
        kinds.into_iter().filter_map(|(is_one, kind)| is_one.then_some(kind)).collect();
    let plugin = match facts.traffic_extension {
        true => PluginKind::TrafficExtension,
        false => PluginKind::WasmPlugin,
    };
    Installation {
        meshes,
        mesh: IstioMesh {
            root_namespace: markers::ROOT_NAMESPACE.into(),
            plugin,
            module_url: markers::MODULE_URL.into(),
            pull_secret: facts.pull_secret.then(|| markers::PULL_SECRET.into()),
        },
        image: markers::IMAGE.into(),
        readers: facts.readers.then(|| markers::READERS.into()),
        access_log: facts.istio && facts.access_log,
        spans: facts.istio && facts.spans,
    }
}

/// The names of all variants' files, in their order.
fn file_names(variants: &[(Facts, Vec<File>)]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (name, ..) in variants.iter().flat_map(|(_, files)| files) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

const CHART: &str = include_str!("chart/Chart.yaml");
const VALUES: &str = include_str!("chart/values.yaml");
const SCHEMA: &str = include_str!("chart/values.schema.json");
const DEFINITIONS: &str = include_str!("chart/_skycap.tpl");
const NOTES: &str = include_str!("chart/NOTES.txt");

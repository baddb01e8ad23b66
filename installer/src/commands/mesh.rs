//! What a command is about: which meshes, and how Istio is to get the module.

use clap::Args;
use kube::Client;

use crate::{
    desired::istio::{IstioMesh, PluginKind},
    observed::{api, snapshot::read_settings},
    table::meshes::{MeshKind, Meshes},
};

/// Which meshes, where Istio wants its objects, and where it gets the module.
#[derive(Debug, Clone, Args)]
pub struct MeshArgs {
    /// The meshes, with commas between [default: those of the cluster's settings, else istio]
    #[arg(long = "mesh", value_enum, value_name = "MESH", value_delimiter = ',')]
    meshes: Vec<MeshKind>,
    /// Istio's root namespace
    #[arg(long, value_name = "NAME", default_value = "istio-system")]
    istio_namespace: String,
    /// Where Istio's agent gets the module: oci://…, https://… or file:///…
    #[arg(long, env = "SKYCAP_MODULE_URL", value_name = "URL", default_value = MODULE_URL)]
    module_url: String,
    /// The Secret in Istio's root namespace by which its agent gets into the registry
    #[arg(long, value_name = "NAME")]
    module_pull_secret: Option<String>,
    /// Which of Istio's kinds to write [default: TrafficExtension where the cluster serves it]
    #[arg(long, value_enum, value_name = "KIND")]
    plugin: Option<PluginKind>,
}

impl MeshArgs {
    /// The meshes that were asked for or that the settings name; and where Istio wants its objects,
    /// with the kind of plugin that was asked for or that the cluster serves.
    pub(crate) async fn meshes(self, client: &Client) -> anyhow::Result<(Meshes, IstioMesh)> {
        let meshes = match self.meshes.as_slice() {
            [] => read_settings(client).await?.map(|s| s.meshes).unwrap_or_default(),
            given => given.iter().copied().collect(),
        };
        let plugin = match self.plugin {
            Some(plugin) => plugin,
            None if meshes.has(MeshKind::Istio) => api::plugin_kind(client).await?,
            None => PluginKind::WasmPlugin,
        };
        Ok((meshes, self.with(plugin)))
    }

    /// The same without a cluster to ask: the kind of plugin that every Istio since 1.12 serves.
    pub(crate) fn offline(self) -> (Meshes, IstioMesh) {
        let meshes = match self.meshes.as_slice() {
            [] => Meshes::default(),
            given => given.iter().copied().collect(),
        };
        let plugin = self.plugin.unwrap_or(PluginKind::WasmPlugin);
        (meshes, self.with(plugin))
    }

    fn with(self, plugin: PluginKind) -> IstioMesh {
        let Self { istio_namespace: root_namespace, module_url, module_pull_secret, .. } = self;
        IstioMesh { root_namespace, plugin, module_url, pull_secret: module_pull_secret }
    }
}

/// Nothing is published yet, so the default names a registry that is nobody's: give your own.
const MODULE_URL: &str =
    concat!("oci://registry.example.com/skycap/filter:", env!("CARGO_PKG_VERSION"));

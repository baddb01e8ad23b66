//! Which meshes a command is about, and how Istio gets the module.

use clap::Args;
use kube::Client;
use skycap_core::names::{InvalidName, check_label};

use super::{Usage, release};
use crate::{
    desired::istio::{IstioMesh, PluginKind},
    observed::{api, snapshot::read_settings},
    table::{
        meshes::{MeshKind, Meshes},
        rollout::parse_module,
        settings::Settings,
    },
};

/// Which meshes, and where Istio keeps its objects.
#[derive(Debug, Clone, Args)]
pub(crate) struct MeshArgs {
    /// Meshes, separated by commas [default: `mesh` in the cluster's settings, or else istio]
    #[arg(long = "mesh", value_enum, value_name = "MESH", value_delimiter = ',')]
    kinds: Vec<MeshKind>,
    /// Istio's root namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system", value_parser = parse_label)]
    istio_namespace: String,
}

/// How Istio gets the module. Only the commands that write the plugin have these flags.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModuleArgs {
    /// Where Istio gets the module: oci://…, https://… or file:///…
    ///
    /// Required on Istio, unless this build is a release.
    #[arg(long, env = "SKYCAP_MODULE_URL", value_name = "URL", value_parser = parse_module)]
    module_url: Option<String>,
    /// Secret in Istio's root namespace with the credentials for the module's registry
    #[arg(long, value_name = "SECRET", value_parser = parse_label)]
    module_pull_secret: Option<String>,
    /// Kind of Istio's plugin to write [default: TrafficExtension if the cluster serves it]
    #[arg(long, value_enum, value_name = "KIND")]
    plugin: Option<PluginKind>,
}

impl MeshArgs {
    /// The meshes, and skycap's objects on Istio as they are in the cluster.
    ///
    /// The plugin is of the kind that is there, or else of the newest kind that the cluster serves.
    /// The module and its Secret are those of the plugin that is there, or else empty.
    ///
    /// # Errors
    /// The API server rejects a request, or Istio is among the meshes and serves no plugin.
    pub(crate) async fn find(self, client: &Client) -> anyhow::Result<(Meshes, IstioMesh)> {
        let settings = match self.kinds.as_slice() {
            [] => read_settings(client).await?,
            _ => None,
        };
        self.find_with(client, settings.as_ref()).await
    }

    /// [`Self::find`] for who has read the settings.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn find_with(
        self,
        client: &Client,
        settings: Option<&Settings>,
    ) -> anyhow::Result<(Meshes, IstioMesh)> {
        let meshes = match self.kinds.as_slice() {
            [] => settings.map(|settings| settings.meshes.clone()).unwrap_or_default(),
            given => given.iter().copied().collect(),
        };
        let mesh = self.istio(PluginKind::WasmPlugin, String::new(), None);
        if !meshes.has(MeshKind::Istio) {
            return Ok((meshes, mesh));
        }
        let mut kinds = Vec::new();
        for plugin in [PluginKind::TrafficExtension, PluginKind::WasmPlugin] {
            let (api_version, kind) = plugin.kind();
            if api::serves(client, api_version, kind).await? {
                kinds.push(plugin);
            }
        }
        for &plugin in &kinds {
            if let Some(found) = find_plugin(client, IstioMesh { plugin, ..mesh.clone() }).await? {
                return Ok((meshes, found));
            }
        }
        let plugin = match kinds.first() {
            Some(newest) => *newest,
            None => api::plugin_kind(client).await?,
        };
        Ok((meshes, IstioMesh { plugin, ..mesh }))
    }

    /// The meshes without a cluster to ask, and Istio's root namespace.
    pub(crate) fn offline(self) -> (Meshes, String) {
        let meshes = match self.kinds.as_slice() {
            [] => Meshes::default(),
            given => given.iter().copied().collect(),
        };
        (meshes, self.istio_namespace)
    }

    /// Istio's root namespace, whether Istio is there or not.
    pub(crate) fn root_namespace(&self) -> &str {
        &self.istio_namespace
    }

    /// Whether Istio is among the meshes, or may be: the cluster's settings are not known yet.
    pub(crate) fn may_be_istio(&self) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&MeshKind::Istio)
    }

    async fn meshes(&self, client: &Client) -> anyhow::Result<Meshes> {
        match self.kinds.as_slice() {
            [] => Ok(read_settings(client).await?.map(|s| s.meshes).unwrap_or_default()),
            given => Ok(given.iter().copied().collect()),
        }
    }

    fn istio(self, plugin: PluginKind, url: String, pull_secret: Option<String>) -> IstioMesh {
        IstioMesh { root_namespace: self.istio_namespace, plugin, module_url: url, pull_secret }
    }
}

impl ModuleArgs {
    /// The meshes, and skycap's objects on Istio as the flags want them.
    ///
    /// # Errors
    /// [`Usage::MissingModuleUrl`], or as the API server says.
    pub(crate) async fn on_cluster(
        self,
        mesh: MeshArgs,
        client: &Client,
    ) -> anyhow::Result<(Meshes, IstioMesh)> {
        let meshes = mesh.meshes(client).await?;
        let plugin = match self.plugin {
            Some(plugin) => plugin,
            None if meshes.has(MeshKind::Istio) => api::plugin_kind(client).await?,
            None => PluginKind::WasmPlugin,
        };
        let istio = self.istio(mesh, &meshes, plugin)?;
        Ok((meshes, istio))
    }

    /// The same without a cluster to ask: the kind of plugin is the one of every Istio since 1.12.
    ///
    /// # Errors
    /// [`Usage::MissingModuleUrl`].
    pub(crate) fn offline(self, mesh: MeshArgs) -> Result<(Meshes, IstioMesh), Usage> {
        let (meshes, _) = mesh.clone().offline();
        let plugin = self.plugin.unwrap_or(PluginKind::WasmPlugin);
        let istio = self.istio(mesh, &meshes, plugin)?;
        Ok((meshes, istio))
    }

    /// The same for `sync`, where the plugin that is in the cluster is the default for every flag.
    ///
    /// # Errors
    /// [`Usage::MissingModuleUrl`], or as the API server says.
    pub(crate) async fn over_existing(
        self,
        mesh: MeshArgs,
        client: &Client,
    ) -> anyhow::Result<(Meshes, IstioMesh)> {
        let (meshes, found) = mesh.clone().find(client).await?;
        let url = Some(found.module_url).filter(|url| !url.is_empty());
        let args = Self {
            module_url: self.module_url.or(url),
            module_pull_secret: self.module_pull_secret.or(found.pull_secret),
            plugin: self.plugin,
        };
        let istio = args.istio(mesh, &meshes, self.plugin.unwrap_or(found.plugin))?;
        Ok((meshes, istio))
    }

    /// The URL of the module, of the flag or of the release, if there is one.
    pub(crate) fn url(&self) -> Option<String> {
        self.module_url.clone().or_else(|| release::MODULE_URL.map(Into::into))
    }

    fn istio(
        self,
        mesh: MeshArgs,
        meshes: &Meshes,
        plugin: PluginKind,
    ) -> Result<IstioMesh, Usage> {
        let url = match self.url() {
            Some(url) => url,
            None if meshes.has(MeshKind::Istio) => return Err(Usage::MissingModuleUrl),
            None => String::new(),
        };
        Ok(mesh.istio(plugin, url, self.module_pull_secret))
    }
}

/// A name that is a DNS label.
fn parse_label(text: &str) -> Result<String, InvalidName> {
    check_label(text).map(|()| text.to_owned())
}

/// skycap's plugin of this kind, with its module; `None` if it is not there.
async fn find_plugin(client: &Client, mesh: IstioMesh) -> anyhow::Result<Option<IstioMesh>> {
    let references = mesh.references();
    let plugin = references.into_iter().take(1).collect::<Vec<_>>();
    let live = api::read(client, &plugin).await?;
    let Some(object) = live.values().next() else { return Ok(None) };
    let secret = ["/spec/wasm/imagePullSecret", "/spec/imagePullSecret"]
        .iter()
        .find_map(|path| object.data.pointer(path)?.as_str());
    let pull_secret = secret.map(str::to_owned);
    let module_url = mesh.module_of(&live).unwrap_or_default().to_owned();
    Ok(Some(IstioMesh { module_url, pull_secret, ..mesh }))
}

//! Istio's two kinds of plugin, and their names in the API server and in Envoy.

/// Istio's kinds of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PluginKind {
    /// From Istio 1.12 on
    WasmPlugin,
    /// From Istio 1.30 on, in its extended channel
    TrafficExtension,
}

impl PluginKind {
    /// The `apiVersion` and the kind.
    #[must_use]
    pub const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::WasmPlugin => ("extensions.istio.io/v1alpha1", "WasmPlugin"),
            Self::TrafficExtension => ("extensions.istio.io/v1alpha1", "TrafficExtension"),
        }
    }

    /// The name of its CustomResourceDefinition.
    #[must_use]
    pub const fn crd(self) -> &'static str {
        match self {
            Self::WasmPlugin => "wasmplugins.extensions.istio.io",
            Self::TrafficExtension => "trafficextensions.extensions.istio.io",
        }
    }

    /// The names of the HTTP filter that Istio makes of the plugin `name`, one for each range of
    /// Istio versions (istio: pilot's `model.GetExtensionName`, and from 1.30 on the translation of
    /// WasmPlugins).
    pub(super) fn filter_names(self, name: &str) -> Vec<String> {
        let group = "extensions.istio.io";
        match self {
            Self::TrafficExtension => vec![format!("{group}/trafficextension/{name}")],
            Self::WasmPlugin => vec![
                format!("{group}/trafficextension/{name}~istio-translated-wasmplugin"),
                format!("{group}/wasmplugin/{name}"),
            ],
        }
    }
}

//! Which Service replaces another one under a key.

use std::num::NonZeroU16;

use skycap_core::{config::PluginConfig, decision::decide, reason::Reason, table::Table};

use crate::{
    diagnose::{
        explain::random_seed,
        request::{AskedRequest, ServicePort},
    },
    forward::member::Member,
    table::report::RouteReport,
};

/// What may replace a Service.
#[derive(Debug)]
pub enum Replacements {
    /// The table of the mesh. It has what the key extends and joins.
    Table(Box<PluginConfig>),
    /// The sandbox's own routes, where no plugin has the table.
    Own {
        /// The namespace of the sandbox.
        namespace: String,
        /// Its routes.
        routes: Vec<RouteReport>,
    },
}

impl Replacements {
    /// The Service that replaces `asked`; `None` if none does.
    pub(super) fn of(
        &self,
        asked: &ServicePort,
        member: &Member,
    ) -> anyhow::Result<Option<ServicePort>> {
        match self {
            Self::Table(config) => decided(config, asked, member),
            Self::Own { namespace, routes } => Ok(own(namespace, routes, asked)),
        }
    }
}

/// Where the filter sends the request.
fn decided(
    config: &PluginConfig,
    asked: &ServicePort,
    member: &Member,
) -> anyhow::Result<Option<ServicePort>> {
    let domain = config.cluster_domain.as_str().to_owned();
    let baggage = member.insert(b"")?;
    let headers = [
        (":authority", asked.to_string().into_bytes()),
        (":path", b"/".to_vec()),
        ("baggage", baggage),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let request = AskedRequest { to: asked.clone(), headers, domain: domain.clone() };
    let table = Table::new(config.clone(), random_seed())?;
    let decision = decide(&table, &request);
    let is_routed = decision.reason == Reason::Routed;
    let Some((name, port)) = decision.target().filter(|_| is_routed) else { return Ok(None) };
    Ok(Some(ServicePort::parse(&format!("{name}:{port}"), &asked.namespace, &domain)?))
}

/// Where one of the sandbox's own routes sends the request: one that names the port, or else one for all.
fn own(namespace: &str, routes: &[RouteReport], asked: &ServicePort) -> Option<ServicePort> {
    let of_service =
        |route: &&RouteReport| asked.namespace == namespace && route.service == asked.name;
    let find = |port: Option<NonZeroU16>| routes.iter().filter(of_service).find(|r| r.port == port);
    let route = find(Some(asked.port)).or_else(|| find(None))?;
    let port = route.to_port.unwrap_or(asked.port);
    Some(ServicePort { name: route.to.clone(), namespace: namespace.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::table::{compile::compile, input::Input, manifests::Manifests};

    #[test]
    fn a_service_is_replaced_by_what_the_key_has_for_its_port() {
        let fragment = |name: &str, data: &str| {
            format!(
                "---\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: {{skycap.dev/kind: \
                 sandbox}}}}\ndata: {{{data}}}\n"
            )
        };
        let routes = "extends: team, routes: 'cart: {to: cart-pr-1, port: 80, toPort: 8080}'";
        let documents = [fragment("pr-1", routes), fragment("team", "routes: 'web: web-team'")];
        let mut manifests = Manifests::default();
        manifests.add(&documents.concat(), "test.yaml");
        let now = Timestamp::now();
        let compilation = compile(&Input::new(&manifests, now), now);
        let own = compilation.report.fragments.into_iter().find(|listed| listed.name == "pr-1");
        let own = Replacements::Own {
            namespace: "shop".into(),
            routes: own.expect("pr-1 is listed").routes,
        };
        let config = compilation.config.expect("valid settings");
        let member = Member::new(&config.carriers, "pr-1".parse().expect("a key"));
        let member = member.expect("baggage is a carrier");
        let table = Replacements::Table(Box::new(config));
        for (asked, by_table, by_routes) in [
            ("cart.shop:80", Some("cart-pr-1.shop:8080"), Some("cart-pr-1.shop:8080")),
            ("cart.shop:81", None, None),
            ("cart.other:80", None, None),
            ("pricing.shop:80", None, None),
            ("web.shop:3000", Some("web-team.shop:3000"), None),
        ] {
            let asked = ServicePort::parse(asked, "", "cluster.local").expect("a Service");
            for (replacements, expected) in [(&table, by_table), (&own, by_routes)] {
                let found = replacements.of(&asked, &member).expect("a valid table");
                let found = found.map(|service| service.to_string());
                assert_eq!(found.as_deref(), expected, "{asked} by {replacements:?}");
            }
        }
    }
}

//! A controller that was taken over, and a record of a rollout that cannot be read.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::{DISPATCH_ROUTE, EDGE, NAMESPACE, PLUGIN, SETTINGS},
    objects::ObjectRef,
    observed::api,
    table::rollout::{Canary, Rollout},
};
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{sandbox, settings},
        run,
    },
};

/// A record of the rollout that cannot be read once gave all workloads the module of the installation.
#[test]
fn the_record_of_a_rollout_becomes_malformed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let canary = Canary {
            module: "file:///next.wasm".into(),
            selector: [("app".into(), "cart".into())].into(),
            until: Timestamp::now() + SignedDuration::from_hours(1),
        };
        let module = Some("file:///promoted.wasm".to_owned());
        let mut record = Rollout { module, canary: Some(canary), outcome: None }.manifest();
        fixture.apply(&record).await?;
        let serves = async |fixture: &Fixture| Ok(urls(fixture).await? == ["next", "promoted"]);
        fixture.until("both modules serve", serves).await?;
        record["data"]["typo"] = "x".into();
        fixture.apply(&record).await?;
        let is_refused = async |fixture: &Fixture| Ok(fixture.summary().await?.refused == 1);
        fixture.until("the record is refused", is_refused).await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
        fixture.has_key("pr-2", true, "a new sandbox").await?;
        let urls = urls(fixture).await?;
        anyhow::ensure!(urls == ["next", "promoted"], "other modules serve: {urls:?}");
        Ok(())
    })
}

/// The names of the modules of skycap's plugins, sorted.
async fn urls(fixture: &Fixture) -> anyhow::Result<Vec<String>> {
    let live = api::read(&fixture.cluster.client, &fixture.mesh.references()).await?;
    let urls = live.values().filter_map(|object| object.data["spec"]["url"].as_str());
    let name = |url: &str| url.trim_start_matches("file:///").trim_end_matches(".wasm").to_owned();
    let mut names: Vec<_> = urls.map(name).collect();
    names.sort();
    Ok(names)
}

/// With the controller's token, nothing can be written into the mesh but what skycap writes: no Lua, no
/// filter taken away, no other module.
#[test]
fn the_controller_is_taken_over() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "the controller itself is not hindered").await?;
        controller.kill().await?;
        let plugin = fixture.plugin().await?.context("no plugin")?.data;
        let filter = fixture.dispatch_route().await?.context("no dispatch route")?.data;
        let stolen = fixture.cluster.client_of(&fixture.cluster.controller_token().await?).await?;
        // The control: what skycap has written may be written again, and with another table.
        let mut table = plugin.clone();
        table["spec"]["pluginConfig"]["generation"] = "000000000000".into();
        let edge = fixture.filter(EDGE).await?.context("no EnvoyFilter of the edge")?.data;
        for (name, data) in
            [(PLUGIN, &table), (PLUGIN, &plugin), (DISPATCH_ROUTE, &filter), (EDGE, &edge)]
        {
            write_as(&stolen, &reference_of(fixture, name), data).await?;
        }
        let attacks = attacks(&plugin, &filter).into_iter().chain(attacks_by_edges(&edge));
        for (about, reference, data) in attacks {
            let refused = write_as(&stolen, &reference_of(fixture, reference), &data).await;
            let error = refused.err().with_context(|| format!("{about}: it was accepted"))?;
            let text = format!("{error:#}");
            anyhow::ensure!(
                text.contains("skycap: ") || text.contains("forbidden"),
                "{about}: {text}"
            );
        }
        nothing_of_others_is_deleted(fixture, &stolen).await
    })
}

/// RBAC permits the controller to delete every ConfigMap; admission only those that end by themselves.
async fn nothing_of_others_is_deleted(fixture: &Fixture, stolen: &Client) -> anyhow::Result<()> {
    let data = json!({"routes": "cart: cart-pr-1", "ttl": "1h"});
    let mut others = sandbox("others", data.clone());
    others["metadata"]["labels"] = json!({});
    let of_settings = ObjectRef::config_map(NAMESPACE, SETTINGS);
    fixture.apply(&others).await?;
    fixture.apply(&settings(json!({"enabled": "true"}))).await?;
    for reference in ["others", "pr-1"]
        .map(|name| ObjectRef::config_map("shop", name))
        .into_iter()
        .chain([of_settings])
    {
        let deleted =
            api::api(stolen, &reference).delete(&reference.name, &DeleteParams::default()).await;
        let error = deleted.err().with_context(|| format!("{reference} was deleted"))?.to_string();
        anyhow::ensure!(error.contains("skycap: "), "{reference}: {error}");
    }
    fixture.apply(&sandbox("ends", data)).await?;
    let own = ObjectRef::config_map("shop", "ends");
    api::api(stolen, &own).delete("ends", &DeleteParams::default()).await?;
    Ok(())
}

/// What a controller that was taken over could write, each with its object.
fn attacks(plugin: &Value, filter: &Value) -> Vec<(&'static str, &'static str, Value)> {
    let mut attacks = attacks_by_filters(&filter["spec"]["configPatches"]);
    for (about, field, value) in [
        ("another module", "url", json!("oci://evil.test/skycap@sha256:0")),
        ("closed on failure", "failStrategy", json!("FAIL_CLOSE")),
        ("inbound requests", "match", json!([{"mode": "SERVER"}])),
        ("every request", "match", json!([])),
        ("the environment of a VM", "vmConfig", json!({"env": [{"name": "A", "value": "b"}]})),
        ("before authentication", "phase", json!("AUTHN")),
        ("a selector", "selector", json!({"matchLabels": {"a": "b"}})),
    ] {
        let mut plugin = plugin.clone();
        plugin["spec"][field] = value;
        attacks.push((about, "skycap", plugin));
    }
    attacks
}

/// Attacks by EnvoyFilters; `own` are skycap's patches.
fn attacks_by_filters(own: &Value) -> Vec<(&'static str, &'static str, Value)> {
    let patches = |patches: Value| json!({"spec": {"configPatches": patches}});
    let with = |patch: &Value| {
        let all = own.as_array().into_iter().flatten().chain([patch]).cloned();
        patches(all.collect::<Vec<_>>().into())
    };
    let mut any_cluster = own.clone();
    let route = any_cluster.as_array_mut().and_then(|patches| patches.last_mut());
    if let Some(route) = route {
        route["patch"]["value"]["match"]["headers"][0]["string_match"]["safe_regex"]["regex"] =
            ".*".into();
    }
    let mut other_header = own.clone();
    other_header[0]["patch"]["value"]["typed_config"]["early_header_mutation_extensions"][0]["typed_config"]
        ["mutations"] = json!([{"remove": "authorization"}]);
    let lua = json!({
        "applyTo": "HTTP_FILTER", "match": {"context": "GATEWAY"},
        "patch": {"operation": "INSERT_FIRST", "value": {"name": "lua"}},
    });
    let jwt = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "subFilter": {"name": "envoy.filters.http.jwt_authn"},
    });
    let no_jwt = json!({
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": jwt}}},
        "patch": {"operation": "REMOVE"},
    });
    let is_route = |patch: &&Value| patch["applyTo"] == "HTTP_ROUTE";
    let routes: Vec<_> = own.as_array().into_iter().flatten().filter(is_route).cloned().collect();
    vec![
        ("Lua in a proxy", "skycap-dispatch", with(&lua)),
        ("a JWT filter removed", "skycap-dispatch", with(&no_jwt)),
        ("a JWT filter removed as a canary", "skycap-canary", patches(json!([no_jwt]))),
        ("a route to any cluster", "skycap-dispatch", patches(any_cluster)),
        ("another header removed", "skycap-dispatch", patches(other_header)),
        ("a forged header not removed", "skycap-dispatch", patches(routes.into())),
        ("another EnvoyFilter", "evil", patches(own.clone())),
    ]
}

/// Attacks by the EnvoyFilter of the edge, which may remove carriers and nothing else.
fn attacks_by_edges(edge: &Value) -> [(&'static str, &'static str, Value); 5] {
    let patch = |pointer: &str, value: Value| {
        let mut edge = json!({"spec": edge["spec"]});
        let found = edge.pointer_mut(&format!("/spec/configPatches/0/{pointer}"));
        *found.unwrap_or_else(|| unreachable!("{pointer}")) = value;
        edge
    };
    let config =
        "patch/value/typed_config/extension_config/typed_config/mutations/request_mutations";
    let mut authorization = patch(config, json!([{"remove": "authorization"}]));
    authorization["spec"]["configPatches"][0]["patch"]["value"]["name"] =
        "skycap.edge.authorization".into();
    let mut capital = patch(config, json!([{"remove": "Authorization"}]));
    capital["spec"]["configPatches"][0]["patch"]["value"]["name"] =
        "skycap.edge.Authorization".into();
    let appended = json!([{"append": {"header": {"key": "x-admin", "value": "1"}}}]);
    [
        ("another header removed at the edge", EDGE, patch(config, json!([{"remove": "x-a"}]))),
        ("authentication removed at the edge", EDGE, authorization),
        ("authentication removed at the edge, in capitals", EDGE, capital),
        ("a header added at the edge", EDGE, patch(config, appended)),
        ("an edge of sidecars", EDGE, patch("match/context", "SIDECAR_INBOUND".into())),
    ]
}

fn reference_of(fixture: &Fixture, name: &str) -> ObjectRef {
    let references = fixture.mesh.references();
    let known = references.iter().find(|reference| reference.name == name);
    known.cloned().unwrap_or_else(|| ObjectRef { name: name.into(), ..references[1].clone() })
}

/// Writes an object as the controller does, by server-side apply.
async fn write_as(client: &Client, reference: &ObjectRef, data: &Value) -> anyhow::Result<()> {
    let mut object = data.clone();
    object["apiVersion"] = reference.api_version.as_str().into();
    object["kind"] = reference.kind.as_str().into();
    object["metadata"] = json!({
        "name": reference.name, "namespace": reference.namespace,
        "labels": {"app.kubernetes.io/managed-by": "skycap"},
    });
    let params = PatchParams::apply("skycap").force();
    let api = api::api(client, reference);
    let _: DynamicObject = api.patch(&reference.name, &params, &Patch::Apply(&object)).await?;
    Ok(())
}

//! Which namespace and which objects of a cluster a command is about.

use std::{collections::BTreeMap, process::Output};

use serde_json::{Value, json};

use super::{command, skycap, stub, stub::ApiServer, text};

const CONFIG_MAPS: &str = "/api/v1/namespaces/skycap-system/configmaps";

fn api_server(documents: &[(&str, Value)]) -> std::io::Result<ApiServer> {
    let documents = documents.iter().map(|(path, value)| ((*path).to_owned(), value.clone()));
    ApiServer::start(documents.collect())
}

fn run(server: &ApiServer, namespace: Option<&str>, args: &[&str]) -> std::io::Result<Output> {
    command(args).env("KUBECONFIG", server.kubeconfig(namespace)?).output()
}

/// The report that a controller would leave, of a sandbox in each of two namespaces.
fn report() -> Value {
    let fragment = |namespace: &str| json!({"namespace": namespace, "name": "pr-1", "key": "pr-1", "state": "active", "routes": []});
    let problem = |namespace: &str| {
        json!({
            "severity": "warning",
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": namespace, "name": "pr-1"},
            "text": format!("a problem in {namespace}"),
        })
    };
    let report = json!({
        "compiled": true,
        "fragments": [fragment("shop"), fragment("other")],
        "problems": [problem("shop"), problem("other"), problem("skycap-system")],
    });
    let summary = json!({
        "generation": "4049a2f932b6", "enabled": true, "dispatch": "cluster-header", "keys": 2,
        "bytes": 100, "fragments": 2, "refused": 0, "warnings": 3,
    });
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "skycap-status", "namespace": "skycap-system"},
        "data": {"report.json": report.to_string(), "summary.json": summary.to_string()},
    })
}

#[test]
fn the_namespace_is_the_flags_or_the_contexts_or_default() -> std::io::Result<()> {
    let server = api_server(&[])?;
    for (context, flags, wanted) in [
        (Some("shop"), &[][..], "shop/pr-1"),
        (Some("shop"), &["-n", "other"], "other/pr-1"),
        (None, &[], "default/pr-1"),
    ] {
        let output = run(&server, context, &[&["disable", "pr-1"], flags].concat())?;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("no sandbox or group `{wanted}`")), "{said}");
    }
    Ok(())
}

#[test]
fn list_shows_one_namespace_or_all() -> std::io::Result<()> {
    let status = format!("{CONFIG_MAPS}/skycap-status");
    let server = api_server(&[(&status, report())])?;
    for (context, flags, in_shop, in_other) in [
        (Some("shop"), &[][..], true, false),
        (Some("shop"), &["-n", "other"], false, true),
        (Some("shop"), &["-A"], true, true),
        (Some("shop"), &["-A", "-n", "shop"], true, true),
        (None, &[], false, false),
    ] {
        let output = run(&server, context, &[&["list", "-o", "json"], flags].concat())?;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let json: Value = serde_json::from_slice(&output.stdout)?;
        let has = |list: &str, namespace: &dyn Fn(&Value) -> Value, wanted: &str| {
            json[list].as_array().is_some_and(|all| all.iter().any(|one| namespace(one) == wanted))
        };
        for (namespace, wanted) in [("shop", in_shop), ("other", in_other)] {
            let fragment = has("fragments", &|one| one["namespace"].clone(), namespace);
            let problem = has("problems", &|one| one["object"]["namespace"].clone(), namespace);
            assert_eq!((fragment, problem), (wanted, wanted), "{flags:?} {namespace}: {json}");
        }
        // The settings are everybody's.
        let settings = |one: &Value| one["object"]["namespace"].clone();
        assert!(has("problems", &settings, "skycap-system"), "{flags:?}: {json}");
    }
    Ok(())
}

/// A cluster with skycap on Istio and a canary, by the paths of its objects.
fn installed() -> std::io::Result<ApiServer> {
    let object =
        |api_version: &str, kind: &str, namespace: &str, name: &str, field: &str, value| {
            let metadata = json!({"name": name, "namespace": namespace});
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, field: value})
        };
    let extensions = "extensions.istio.io/v1alpha1";
    let wasm = json!({"url": "oci://registry.test/filter@sha256:1"});
    let plugin = object(extensions, "WasmPlugin", "istio-system", "skycap", "spec", wasm);
    let containers = json!([{"name": "controller", "image": "registry.test/controller:7"}]);
    let spec = json!({"selector": {}, "template": {"spec": {"containers": containers}}});
    let system = "skycap-system";
    let deployment = object("apps/v1", "Deployment", system, "skycap-controller", "spec", spec);
    let canary = json!({
        "canary": "oci://registry.test/filter@sha256:2",
        "selector": "app=frontend",
        "until": "2999-01-01T00:00:00Z",
    });
    let rollout = object("v1", "ConfigMap", system, "skycap-rollout", "data", canary);
    let api = format!("/apis/{extensions}");
    api_server(&[
        (&api, kinds()),
        (&format!("{api}/namespaces/istio-system/wasmplugins/skycap"), plugin),
        ("/apis/apps/v1/namespaces/skycap-system/deployments/skycap-controller", deployment),
        (&format!("{CONFIG_MAPS}/skycap-rollout"), rollout),
    ])
}

/// What an API server that serves WasmPlugins says of their group.
fn kinds() -> Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "extensions.istio.io/v1alpha1",
        "resources": [{
            "name": "wasmplugins", "singularName": "wasmplugin", "kind": "WasmPlugin",
            "namespaced": true, "verbs": ["get"],
        }],
    })
}

/// The plugin that is there is the default; without one there is none.
#[test]
fn sync_writes_no_plugin_without_a_module() -> std::io::Result<()> {
    let bare = api_server(&[("/apis/extensions.istio.io/v1alpha1", kinds())])?;
    let output = run(&bare, None, &["sync"])?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("`--module-url`"), "{output:?}");
    let output = run(&installed()?, None, &["sync"])?;
    // The stand-in lists no ConfigMaps, so it goes no further.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!text(&output.stderr).contains("--module-url"), "{output:?}");
    Ok(())
}

#[test]
fn version_names_the_client_the_controller_and_the_module() -> std::io::Result<()> {
    let server = installed()?;
    let output = run(&server, None, &["version", "-o", "json"])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let wanted = json!({
        "client": env!("CARGO_PKG_VERSION"),
        "controller": "registry.test/controller:7",
        "module": "oci://registry.test/filter@sha256:1",
        "canary": {"module": "oci://registry.test/filter@sha256:2", "workloads": "app=frontend"},
    });
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout)?, wanted);

    let table = text(&run(&server, None, &["version"])?.stdout);
    let names: Vec<_> = table.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["client", "controller", "module", "canary"], "{table}");
    Ok(())
}

#[test]
fn version_of_the_client_needs_no_cluster() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    // Nothing listens on the port of an address that is free again.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let kubeconfig = stub::kubeconfig(folder.path(), &address, None)?;
    let unreachable = |args: &[&str]| command(args).env("KUBECONFIG", &kubeconfig).output();
    let client = env!("CARGO_PKG_VERSION");

    let output = unreachable(&["version"])?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains(client), "{output:?}");
    assert!(text(&output.stderr).contains("the cluster is unreachable"), "{output:?}");

    for output in [unreachable(&["version", "--client"])?, skycap(&["version", "--client"])?] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stdout).contains(client) && output.stderr.is_empty(), "{output:?}");
    }
    Ok(())
}

#[test]
fn an_unreachable_cluster_and_an_unknown_context_are_said_once() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let kubeconfig = stub::kubeconfig(folder.path(), &address, None)?;
    let causes: BTreeMap<_, _> =
        [(&["list"][..], "the cluster is unreachable"), (&["list", "--context", "nope"], "`nope`")]
            .into();
    for (args, wanted) in causes {
        let output = command(args).env("KUBECONFIG", &kubeconfig).output()?;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!((said.lines().count(), said.matches(wanted).count()), (1, 1), "{said}");
    }
    Ok(())
}

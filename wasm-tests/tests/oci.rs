//! The module by way of a real registry: pushed by the command, pulled by Istio's agent.

mod kubernetes;

use kubernetes::{
    Fixture,
    mesh::{Mesh, from},
    run, sandbox,
};
use serde_json::json;
use skycap::istio::PluginKind;
use skycap_tests::{cluster::Registry, module};

#[test]
fn explore() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let registry = Registry::start(fixture.cluster.folder(), false).await?;
        let module = module::build()?;
        let at = format!("oci://{}/skycap/filter:1", registry.address);
        let file = module.display().to_string();
        let pinned = fixture.skycap(&["plugin", "push", &at, "--module", &file]).await?;
        println!("{pinned}");
        println!("{}", fixture.skycap(&["plugin", "inspect", &at]).await?);
        fixture.cluster.module_url = pinned.trim().into();
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let mesh = Mesh::open(fixture, &["frontend"]).await?;
        fixture.until("routed", async |_| Ok(from("frontend", "pricing.shop", &[("baggage", "sandbox=pr-2")]).await?.starts_with("pricing-pr-2"))).await?;
        let show = async |what: &str| -> anyhow::Result<()> {
            let text = mesh.agent("frontend").metrics().await?;
            println!("== {what}\n{}", text.lines().filter(|l| !l.starts_with('#') && !l.ends_with(" 0") && !l.contains("bucket") && (l.contains("skycap_t")|| l.contains("skycap_r") || l.contains("wasm"))).collect::<Vec<_>>().join("\n"));
            let text = mesh.agent("frontend").admin("/stats?filter=(wasm|extension_config|rbac|http.outbound)").await?;
            println!("-- admin\n{}", text.lines().filter(|l| !l.ends_with(": 0") && !l.contains("No recorded")).collect::<Vec<_>>().join("\n"));
            Ok(())
        };
        show("good").await?;
        let trap = "(module (memory (export \"memory\") 1) (global $h (mut i32) (i32.const 1024))
          (func (export \"proxy_abi_version_0_2_1\"))
          (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) (global.get $h) (global.set $h (i32.add (global.get $h) (local.get 0))))
          (func (export \"proxy_on_context_create\") (param i32 i32))
          (func (export \"proxy_on_configure\") (param i32 i32) (result i32) (i32.const CONF))
          (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) (i32.const 1))
          (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) BODY))";
        for (name, conf, body) in [("trap", "1", "unreachable"), ("refuse", "0", "(i32.const 0)")] {
            let wasm = wat::parse_str(trap.replace("CONF", conf).replace("BODY", body))?;
            let path = fixture.cluster.folder().join(format!("{name}.wasm"));
            std::fs::write(&path, wasm)?;
            let at = format!("oci://{}/skycap/{name}:1", registry.address);
            let pinned = fixture.skycap(&["plugin", "push", &at, "--module", &path.display().to_string()]).await?;
            let plugin = json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension", "metadata": {"name": "other", "namespace": "istio-system"},
              "spec": {"selector": {"matchLabels": {"app": "frontend"}}, "match": [{"mode": "CLIENT"}], "wasm": {"url": pinned.trim(), "failStrategy": "FAIL_OPEN", "pluginName": "other", "pluginConfig": {"a": 1}}}});
            fixture.apply(&plugin).await?;
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            for _ in 0..3 {
                println!("{:?}", from("frontend", "pricing.shop", &[("baggage", "sandbox=pr-2")]).await);
            }
            show(name).await?;
            fixture.delete_object(&plugin).await?;
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            println!("{:?}", from("frontend", "pricing.shop", &[("baggage", "sandbox=pr-2")]).await);
            show("after").await?;
        }
        println!("{}", mesh.agent("frontend").log().lines().filter(|l| l.contains("asm")).collect::<Vec<_>>().join("\n"));
        Ok(())
    })
}

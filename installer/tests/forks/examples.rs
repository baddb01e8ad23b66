//! Shapes of workloads that people have, and what becomes of each.

use skycap::{
    environment::{
        baseline::Baseline,
        plan::check_repository,
        sandbox::{InvalidSandbox, Sandbox},
        spec::SandboxSpec,
    },
    table::manifests,
};

/// A Deployment with this Pod spec and these labels, in YAML's flow style.
pub(crate) fn deployment(name: &str, labels: &str, pod: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec: \
         {{selector: {{matchLabels: {{{labels}}}}}, template: {{metadata: {{labels: {{{labels}}}}}, spec: {pod}}}}}\n"
    )
}

pub(crate) fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

pub(crate) const ONE: &str =
    "{containers: [{name: app, image: 'app:1', ports: [{name: http, containerPort: 8080}]}]}";
const TWO: &str = "{containers: [{name: app, image: 'app:1'}, {name: log, image: 'log:1'}]}";

pub(crate) fn sandbox(manifests: &str, forks: &str) -> Result<Sandbox, String> {
    of_file(manifests, &format!("sandbox: pr-9\nforks: {{{forks}}}\n"))
}

/// The sandbox of this file.
pub(crate) fn of_file(manifests: &str, text: &str) -> Result<Sandbox, String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    std::fs::write(file.path(), manifests).map_err(|error| error.to_string())?;
    let objects =
        manifests::objects(&[file.path().to_owned()]).map_err(|error| format!("{error:#}"))?;
    let spec = SandboxSpec::parse(text, None, &|_| None).map_err(|error| error.to_string())?;
    Sandbox::new(&spec, "shop", &Baseline::new(objects)).map_err(|errors| {
        errors.iter().map(InvalidSandbox::to_string).collect::<Vec<_>>().join("\n")
    })
}

/// A shape, its manifests, what is forked, the Services that this replaces, and the note on it.
type Shape = (&'static str, String, &'static str, &'static [&'static str], &'static str);

fn shapes() -> Vec<Shape> {
    let port = "ports: [{port: 80, targetPort: http}]";
    let web = deployment("web", "app: web", ONE);
    let served = service("web", &format!("{{selector: {{app: web}}, {port}}}"));
    let headless =
        service("web-pods", &format!("{{clusterIP: None, selector: {{app: web}}, {port}}}"));
    let canary = deployment("web-canary", "app: web, track: canary", ONE);
    let unselective = service("web", &format!("{{{port}}}"));
    let claim =
        "{containers: [{name: app}], volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]}";
    let claim = deployment("web", "app: web", claim);
    let host = "{containers: [{name: app, ports: [{containerPort: 80, hostPort: 80}]}]}";
    let host = deployment("web", "app: web", host);
    let freed = "web: {patch: {spec: {template: {spec: {containers: [{name: app, ports: \
                 [{containerPort: 80, hostPort: null}]}]}}}}}";
    let shared = "Service web also serves deployment/web-canary";
    vec![
        ("a Service", web.clone() + &served, "web: {}", &["web"], ""),
        ("two Services", web.clone() + &served + &headless, "web: {}", &["web", "web-pods"], ""),
        ("two workloads", web.clone() + &canary + &served, "web: {}", &["web"], shared),
        ("no Service", web.clone(), "web: {}", &[], "no Service selects its baseline"),
        ("a Service without a selector", web + &unselective, "web: {}", &[], "no Service"),
        ("a claim", claim + &served, "web: {}", &["web"], "mounts the claim `d`"),
        ("a port of the node that a patch removes", host + &served, freed, &["web"], ""),
    ]
}

#[test]
fn what_becomes_of_each_shape() {
    for (shape, manifests, forks, services, note) in shapes() {
        let (names, notes) = found(&manifests, forks);
        assert_eq!(names, services, "{shape}");
        assert!(notes.contains(note) && notes.is_empty() == note.is_empty(), "{shape}: {notes}");
    }
}

/// The Services that the forks replace, or why there are none, and the notes.
pub(crate) fn found(manifests: &str, forks: &str) -> (Vec<String>, String) {
    match sandbox(manifests, forks) {
        Ok(sandbox) => {
            let notes: Vec<_> = sandbox.all_notes().collect();
            (sandbox.services.keys().cloned().collect(), notes.join("\n"))
        }
        Err(error) => (vec![error], String::new()),
    }
}

/// Each is refused, with a sentence that names what is wrong.
#[test]
fn what_is_refused() {
    let web = deployment("web", "app: web", ONE);
    let two = deployment("web", "app: web", TWO);
    for (manifests, forks, expected) in [
        (web.clone(), "wep: {}", "deployment/wep: not found; did you mean `deployment/web`?"),
        (web.clone(), "statefulset/db: {}", "the namespace has deployment/web"),
        (String::new(), "web: {}", "deployment/web: not found; the namespace has no workload"),
        (
            web.replace("apps/v1", "extensions/v1beta1"),
            "web: {}",
            "its manifest has `apiVersion: extensions/v1beta1`; expected `apps/v1`",
        ),
        (web.clone(), "web: {images: {ap: 'x'}}", "container `ap` not found; did you mean `app`?"),
        (two.clone(), "web: {image: 'x'}", "`image` could be for app or log; name"),
        (
            two.replace("containers: [", "containers: [{name: proxy}, "),
            "web: {image: 'x'}",
            "`image` could be for proxy, app or log; name",
        ),
        (web.clone(), "web: {imag: 'x'}", "forks.web.imag: unknown field; did you mean `image`?"),
        (web.clone(), "job/web: {}", "invalid workload `job/web`"),
        (web.clone(), "web: {}, deploy/web: {}", "listed twice"),
        (web.clone(), "web: {patch: {spec: {selector: {}}}}", "forks.web.patch.spec.selector"),
        (web.clone(), "web: {patch: {metadata: {name: x}}}", "forks.web.patch.metadata.name"),
        // Such labels select nothing, and no API server takes them.
        (
            web.clone(),
            "web: {patch: {spec: {template: {metadata: {labels: {app: 1}}}}}}",
            "labels of its Pods",
        ),
        (
            web.clone()
                + &service("web", "{type: ExternalName, externalName: a.b, selector: {app: web}}"),
            "web: {}",
            "Service `web` has type ExternalName",
        ),
        (
            web + "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: all, namespace: shop}\nspec: {selector: {}}\n",
            "web: {}",
            "PodDisruptionBudget shop/all would select the fork",
        ),
    ] {
        let error = sandbox(&manifests, forks).err().unwrap_or_default();
        assert!(error.contains(expected), "{forks}: {error:?} does not say `{expected}`");
    }
}

/// What only one Pod of a node can have, a fork cannot have too.
#[test]
fn what_its_node_shares_is_refused() {
    for (pod, expected) in [
        ("{hostNetwork: true, containers: [{name: app}]}", "it uses its node's network"),
        (
            "{containers: [{name: app, ports: [{hostPort: 80}]}]}",
            "it uses ports of its node, which its baseline has: 80",
        ),
    ] {
        let web = deployment("web", "app: web", pod);
        let error = sandbox(&web, "web: {}").err().unwrap_or_default();
        assert!(error.contains(expected), "{pod}: {error:?} does not say `{expected}`");
    }
}

/// Two pull requests with one number, in two repositories.
#[test]
fn a_sandbox_of_another_repository_is_left_alone() {
    let live = |annotations: &str| {
        let text =
            format!("{{\"metadata\": {{\"name\": \"pr-9\", \"annotations\": {annotations}}}}}");
        serde_json::from_str(&text).ok()
    };
    let of_cart = live(r#"{"skycap.dev/repository": "shop/cart"}"#);
    for (live, own, is_permitted) in [
        (of_cart.as_ref(), Some("shop/cart"), true),
        (of_cart.as_ref(), Some("shop/pricing"), false),
        // A person may change what CI made, and CI what a person made.
        (of_cart.as_ref(), None, true),
        (live("{}").as_ref(), Some("shop/cart"), true),
        (None, Some("shop/cart"), true),
    ] {
        assert_eq!(check_repository(live, own).is_ok(), is_permitted, "{own:?}");
    }
}

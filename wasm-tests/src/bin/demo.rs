//! `cargo demo`: a shop on real Envoys, with requests that take different ways through it.
#![forbid(unsafe_code)]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anstyle::AnsiColor;
use anyhow::{Context as _, bail, ensure};
use hyper::{HeaderMap, header::HeaderName};
use skycap_tests::{
    envoy, module, picture,
    progress::Step,
    shop::{self, Shop},
    workspace,
};

/// Show requests with and without a routing key on their ways through a shop on real Envoys
#[derive(clap::Parser)]
#[command(name = "cargo demo", version)]
struct Args {
    /// Leave the shop running, and take each change of its ConfigMaps
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { keep } = clap::Parser::parse();
    // Whatever was started ends with the future that is dropped here.
    let result = tokio::select! {
        result = demo(keep) => result,
        () = stopped() => {
            anstream::eprintln!("stopped; nothing is left running");
            return ExitCode::from(130);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends with Ctrl-C, or with the signal that `kill` and `timeout` send.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn demo(keep: bool) -> anyhow::Result<()> {
    let module = module::build()?;
    let skycap = build_skycap()?;
    let envoy = envoy::obtain()?;
    let folder = tempfile::tempdir()?;
    let tables = Tables::copy(skycap, &folder.path().join("configmaps"))?;
    let table = tables.compile()?;
    let mut shop = {
        let _step = Step::new("starting the shop and its Envoys");
        Shop::open(&WORKLOADS, &envoy, &module, &table, &folder.path().join("envoys")).await?
    };
    anstream::println!(
        "\nA shop of {} workloads, each with an Envoy of its own; sandboxes stand in brackets.\n",
        shop.workloads()
    );
    for scene in SCENES {
        scene.play(&shop).await?;
    }
    toggle(&mut shop, &tables).await?;
    if keep { keep_running(&mut shop, &tables).await } else { Ok(()) }
}

/// A request and the way that it must take.
struct Scene {
    about: &'static str,
    headers: &'static [(&'static str, &'static str)],
    path: [&'static str; 3],
}

impl Scene {
    async fn play(&self, shop: &Shop) -> anyhow::Result<()> {
        let (visit, _) = shop.visit(&headers(self.headers)?).await.context(self.about)?;
        anstream::println!("{:<34}{}", self.about, picture::way(&visit.path));
        for (name, value) in self.headers {
            anstream::println!(
                "  {}",
                picture::paint(AnsiColor::BrightBlack, &format!("{name}: {value}"))
            );
        }
        ensure!(visit.path == self.path, "this request must come by {:?}", self.path);
        Ok(())
    }
}

/// Switches pr-123 off in its ConfigMap while its requests run.
async fn toggle(shop: &mut Shop, tables: &Tables) -> anyhow::Result<()> {
    anstream::println!("\nNow pr-123 is switched off in its ConfigMap, while its requests run:");
    let running = Arc::new(AtomicBool::new(true));
    let load = tokio::spawn(load(shop.gateway()?, Arc::clone(&running)));
    tokio::time::sleep(LOAD_BEFORE).await;
    tables.edit("pr-123.yaml", "enabled: \"true\"", "enabled: \"false\"")?;
    let table = tables.compile()?;
    let pushed = Instant::now();
    shop.push(&table).await?;
    let taken = pushed.elapsed();
    tokio::time::sleep(LOAD_AFTER).await;
    running.store(false, Ordering::Relaxed);
    let visits = load.await?;
    report(&visits, pushed, taken)
}

/// One request of the load: when its answer came, and by which workloads.
type Answered = (Instant, anyhow::Result<Vec<String>>);

/// Sends requests with the key pr-123, 200 a second, and waits for the answers of all.
async fn load(gateway: SocketAddr, running: Arc<AtomicBool>) -> Vec<Answered> {
    let mut requests = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_millis(5));
    while running.load(Ordering::Relaxed) {
        clock.tick().await;
        requests.push(tokio::spawn(async move {
            let visit = async {
                let (visit, _) = shop::visit(gateway, &headers(&[PR_123])?).await?;
                anyhow::Ok(visit.path)
            };
            let path = visit.await;
            (Instant::now(), path)
        }));
    }
    let mut answered = Vec::new();
    for request in requests {
        let lost = |error| (Instant::now(), Err(anyhow::Error::new(error)));
        answered.push(request.await.unwrap_or_else(lost));
    }
    answered
}

fn report(visits: &[Answered], pushed: Instant, taken: Duration) -> anyhow::Result<()> {
    let by = |cart: &str| {
        let came_by = |(when, path): &Answered| {
            path.as_ref().is_ok_and(|path| path == &["frontend", cart, "pricing"]).then_some(*when)
        };
        visits.iter().filter_map(came_by).collect::<Vec<_>>()
    };
    let (sandbox, baseline) = (by("cart-pr-123"), by("cart"));
    let lost = visits.len() - sandbox.len() - baseline.len();
    let rows = [
        ("by the sandbox", sandbox.len(), AnsiColor::Green),
        ("by the baseline", baseline.len(), AnsiColor::Cyan),
        ("lost or wrong", lost, AnsiColor::Red),
    ];
    for (label, count, color) in rows {
        let bar = picture::bar(count as f64 / visits.len().max(1) as f64, 40);
        anstream::println!("  {label:<16} {count:>5}  {}", picture::paint(color, &bar));
    }
    let last = sandbox.iter().filter_map(|when| when.checked_duration_since(pushed)).max();
    anstream::println!(
        "  all Envoys had the new table {} ms after the push, the last answer of the sandbox came \
         at {} ms",
        taken.as_millis(),
        last.unwrap_or_default().as_millis()
    );
    if let Some((_, Err(error))) = visits.iter().find(|(_, path)| path.is_err()) {
        bail!("a request was lost: {error:#}");
    }
    ensure!(lost == 0, "{lost} requests took a wrong way");
    ensure!(!sandbox.is_empty() && !baseline.is_empty(), "the traffic did not come back");
    Ok(())
}

async fn keep_running(shop: &mut Shop, tables: &Tables) -> anyhow::Result<()> {
    let gateway = shop.gateway()?;
    anstream::println!("\nThe shop stays open until Ctrl-C. Try:");
    for baggage in ["", "-H 'baggage: sandbox=pr-123' ", "-H 'baggage: sandbox=pr-7' "] {
        anstream::println!("  curl -s {baggage}-H 'Host: frontend.shop' http://{gateway}/");
    }
    anstream::println!("and edit the ConfigMaps in {}", tables.folder.display());
    let mut known = tables.compile()?;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match tables.compile() {
            Ok(table) if table != known => {
                shop.push(&table).await?;
                anstream::println!("the Envoys have the new table");
                known = table;
            }
            Ok(_) => {}
            Err(error) => {
                anstream::eprintln!("{error:#}");
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        }
    }
}

/// The ConfigMaps of the demo: a copy of `deploy/examples` that it may edit.
struct Tables {
    skycap: PathBuf,
    folder: PathBuf,
}

impl Tables {
    fn copy(skycap: PathBuf, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(workspace::root().join("deploy/examples"))? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(Self { skycap, folder: folder.into() })
    }

    /// What `skycap compile -f FOLDER -o plugin-config` prints.
    fn compile(&self) -> anyhow::Result<String> {
        let mut command = Command::new(&self.skycap);
        command.args(["compile", "-o", "plugin-config", "-f"]).arg(&self.folder);
        let said = command.output().with_context(|| format!("cannot run {command:?}"))?;
        ensure!(
            said.status.success(),
            "skycap refuses a ConfigMap:\n{}",
            String::from_utf8_lossy(&said.stderr).trim_end()
        );
        Ok(String::from_utf8(said.stdout)?.trim_end().to_owned())
    }

    fn edit(&self, file: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "`{}` has no `{from}` to edit", path.display());
        Ok(fs::write(&path, text.replace(from, to))?)
    }
}

/// The binary `skycap` of the profile that this demo is built with: its library is built already,
/// so this is a link and no second build.
fn build_skycap() -> anyhow::Result<PathBuf> {
    let _step = Step::new("building skycap");
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--package", "skycap", "--bin", "skycap"])
        .current_dir(workspace::root())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "skycap does not build");
    Ok(workspace::target().join("debug/skycap"))
}

fn headers(lines: &[(&str, &str)]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::try_from(*name)?, value.parse()?);
    }
    Ok(headers)
}

const PR_123: (&str, &str) = ("baggage", "sandbox=pr-123");
const LOAD_BEFORE: Duration = Duration::from_millis(1_000);
const LOAD_AFTER: Duration = Duration::from_millis(1_000);
const WORKLOADS: [&str; 6] =
    ["frontend", "cart", "pricing", "cart-pr-123", "frontend-pr-7", "pricing-pr-7"];
const SCENES: [Scene; 9] = [
    Scene { about: "no key", headers: &[], path: ["frontend", "cart", "pricing"] },
    Scene {
        about: "pr-123 changes the cart",
        headers: &[PR_123],
        path: ["frontend", "cart-pr-123", "pricing"],
    },
    Scene {
        about: "pr-7 changes both ends",
        headers: &[("baggage", "sandbox=pr-7")],
        path: ["frontend-pr-7", "cart", "pricing-pr-7"],
    },
    Scene {
        about: "a group joins the two",
        headers: &[("baggage", "sandbox=release-42")],
        path: ["frontend-pr-7", "cart-pr-123", "pricing-pr-7"],
    },
    Scene {
        about: "the key among other members",
        headers: &[("baggage", "userId=alice,sandbox = pr%2D123;ttl=1 , region=eu")],
        path: ["frontend", "cart-pr-123", "pricing"],
    },
    Scene {
        about: "a key that nobody has",
        headers: &[("baggage", "sandbox=pr-12")],
        path: ["frontend", "cart", "pricing"],
    },
    Scene {
        about: "a sandbox that is switched off",
        headers: &[("baggage", "sandbox=pr-9")],
        path: ["frontend", "cart", "pricing"],
    },
    Scene {
        about: "a forged dispatch header",
        headers: &[("x-skycap-cluster", "outbound|80||frontend-pr-7.shop.svc.cluster.local")],
        path: ["frontend", "cart", "pricing"],
    },
    Scene {
        about: "a forged one, with a key",
        headers: &[("x-skycap-cluster", "nowhere"), PR_123],
        path: ["frontend", "cart-pr-123", "pricing"],
    },
];

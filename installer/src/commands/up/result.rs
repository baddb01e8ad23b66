//! What `up` prints: the plan, and what came of it.

use jiff::Timestamp;
use serde_json::Value;
use skycap_core::carrier::Carrier;

use super::{apply::Application, patience::briefly};
use crate::{
    cli::message,
    desired::plan::Step,
    environment::{
        plan::SandboxPlan,
        sandbox::Sandbox,
        summary::{self, QueueTopic, Replacement, Summary},
    },
    forward::{member::Member, names},
    objects::Object,
    observed::{forks::ForkState, served::Served},
    problem::printable_lines,
    table::settings::Settings,
};

/// What the sandbox shall be: a line for each fork, Service and note.
pub(super) fn plan(sandbox: &Sandbox, plan: &SandboxPlan) -> String {
    let written: Vec<_> = plan.objects.steps.iter().map(Step::reference).collect();
    let state = |object: &Object| match written.contains(&object.reference()) {
        true => "",
        false => "  unchanged",
    };
    let mut lines = Vec::new();
    for instance in &sandbox.resources {
        lines.push(format!("add    resource/{} -> {}", instance.resource, instance.name()));
    }
    for fork in &sandbox.forks {
        let images: Vec<_> =
            fork.images.iter().map(|(container, image)| format!("  {container}={image}")).collect();
        let (images, state) = (images.concat(), state(&fork.object));
        lines.push(format!("fork   {} -> {}{images}{state}", fork.workload, fork.name()));
    }
    for (service, fork) in &sandbox.services {
        lines.push(format!("serve  service/{service} -> {}{}", fork.reference().name, state(fork)));
    }
    for (name, queue) in &sandbox.queues {
        let topic = queue.topic_of(&sandbox.spec.name);
        let variables = queue.variables(&sandbox.spec.name);
        let variables = variables.map(|(name, value)| format!("  {name}={value}"));
        lines.push(format!("queue  {name} -> {topic}{}", variables.collect::<String>()));
    }
    let deleted = plan.objects.steps.iter().filter_map(|step| match step {
        Step::Delete(object) => {
            Some(format!("delete {}/{}", object.kind.to_lowercase(), object.name))
        }
        Step::Create(_) | Step::Once(_) | Step::Update(..) => None,
    });
    lines.extend(deleted);
    lines.extend(sandbox.all_notes().map(|note| format!("note   {note}")));
    printable_lines(&lines.join("\n"))
}

/// How a request reaches the sandbox.
pub(super) fn text(sandbox: &Sandbox, summary: &Summary) -> String {
    let forward = laptop(sandbox);
    let Summary { sandbox, namespace, key, expires, served, curl, .. } = summary;
    let routed = match served {
        _ if summary.services.is_empty() => match summary.queues.is_empty() {
            true => "no Service: it gets no requests".into(),
            false => "no Service: it gets no requests, only messages".into(),
        },
        Some(served) => format!("{} of {} sidecars serve it", served.up_to_date, served.sidecars),
        None => format!("not yet: `skycap wait {sandbox} -n {namespace}` waits for it"),
    };
    let end = expires.map(|time| format!(", until {time}")).unwrap_or_default();
    let text = format!("routed {routed}\nkey    {key}{end}");
    match forward {
        Some(forward) => {
            format!("{text}\n\n{curl}    # from a Pod of the mesh\n{forward}    # from here")
        }
        None => text,
    }
}

/// A command that sends a request from a machine outside of the cluster.
fn laptop(sandbox: &Sandbox) -> Option<String> {
    let (service, fork) = sandbox.services.iter().next()?;
    let port = port(fork);
    let names = names(&[(service, u16::try_from(port).ok()?)]).ok()?;
    let variable = names.first()?.first()?;
    let (name, namespace) = (&sandbox.spec.name, &sandbox.namespace);
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    Some(format!(
        "skycap test {name} -n {namespace} --forward {service}{port} -- sh -c 'curl ${variable}'"
    ))
}

fn port(service: &Object) -> u64 {
    service.0.data.pointer("/spec/ports/0/port").and_then(Value::as_u64).unwrap_or(80)
}

fn queues(sandbox: &Sandbox) -> Vec<QueueTopic> {
    let name = &sandbox.spec.name;
    let queues = sandbox.queues.iter().map(|(queue, config)| QueueTopic {
        queue: queue.clone(),
        topic: config.topic_of(name),
        group: config.group_of(name),
    });
    queues.collect()
}

/// What programs are told, whether the run succeeded or not.
pub(super) async fn summary(
    application: &Application<'_>,
    member: &str,
    outcome: &anyhow::Result<Option<Served>>,
) -> Summary {
    let Application { client, sandbox, plan } = *application;
    let mut forks = Vec::new();
    for fork in &sandbox.forks {
        let state = briefly(ForkState::read(client, &fork.object.reference())).await;
        let reason = match &state {
            Ok(ForkState::Ready) => None,
            Ok(ForkState::Progressing(what)) => Some(what.clone()),
            Ok(ForkState::Failing(failure)) => Some(failure.to_string()),
            Err(error) => Some(message(error)),
        };
        forks.push(summary::Fork {
            workload: fork.workload.to_string(),
            name: fork.name(),
            images: fork.images.clone(),
            ready: reason.is_none(),
            reason,
        });
    }
    let key = sandbox.spec.key();
    let baggage = format!("{member}={key}");
    let served = outcome.as_ref().ok().and_then(Option::as_ref);
    let mut notes: Vec<_> = sandbox.all_notes().collect();
    notes.extend(served.into_iter().flat_map(|served| served.notes.clone()));
    let services = sandbox
        .services
        .iter()
        .map(|(service, fork)| Replacement { service: service.clone(), to: fork.reference().name });
    Summary {
        sandbox: sandbox.spec.name.clone(),
        queues: queues(sandbox),
        namespace: sandbox.namespace.clone(),
        expires: expires(&plan.config_map),
        curl: format!("curl -H 'baggage: {baggage}' {}", url(sandbox)),
        key,
        baggage,
        forks,
        services: services.collect(),
        notes,
        served: served.and_then(|served| served.sidecars.as_ref()).map(|sidecars| {
            summary::Served { sidecars: sidecars.asked, up_to_date: sidecars.current }
        }),
        error: outcome.as_ref().err().map(message),
    }
}

fn expires(config_map: &Object) -> Option<Timestamp> {
    config_map.0.data.pointer("/data/expires")?.as_str()?.parse().ok()
}

/// The member of `baggage` that carries the key here. Who may not read the settings is told the default.
pub(super) fn baggage_member(settings: Option<&Settings>) -> String {
    let carriers = settings.map(|settings| settings.config.carriers.as_slice());
    let default = [Carrier::default()];
    let member = Member::name(carriers.unwrap_or_default()).or_else(|| Member::name(&default));
    member.unwrap_or_default().to_owned()
}

/// The address of a Service that the sandbox replaces, inside the cluster.
fn url(sandbox: &Sandbox) -> String {
    let Some((service, fork)) = sandbox.services.iter().next() else {
        return "http://SERVICE/".into();
    };
    let port = port(fork);
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    format!("http://{service}.{}{port}/", sandbox.namespace)
}

//! Queues whose messages nobody moves, or whose baseline reads them in the wrong way.

use serde_json::Value;

use super::warning;
use crate::{
    diagnose::scope::Scope,
    environment::labels::SANDBOX_LABEL,
    names::{QUEUE_LABEL, SPLITTER},
    problem::Problem,
    table::{
        cluster::Name,
        queue::{Queue, QueueConfig},
    },
};

/// The problems of the queues in `scope`; `workloads` are the Deployments and StatefulSets around them.
pub(super) fn queues(queues: &[&Queue], workloads: &[Value], scope: &Scope) -> Vec<Problem> {
    let mut problems = Vec::new();
    for queue in queues.iter().filter(|queue| scope.has(&queue.origin.namespace)) {
        let (namespace, name) = (&queue.origin.namespace, &queue.origin.name);
        let is_near = |workload: &&Value| workload["metadata"]["namespace"] == namespace.as_str();
        let near: Vec<_> = workloads.iter().filter(is_near).collect();
        if !near.iter().any(|workload| splits(workload, name)) {
            let text = format!(
                "no Deployment of `{SPLITTER}` moves its messages, so those of sandboxes stay in topic `{}`; \
                 apply what `skycap render --queue {name} -n {namespace}` writes",
                queue.config.topic
            );
            let queue = (namespace.clone(), name.clone());
            problems.push(warning(("v1", "ConfigMap"), &queue, "", text));
        }
        let baseline =
            near.iter().filter(|workload| workload["metadata"]["labels"][SANDBOX_LABEL].is_null());
        problems.extend(baseline.filter_map(|workload| consumer(workload, &queue.config)));
    }
    problems
}

/// What is wrong with a workload of the baseline that consumes the queue, by its variables.
fn consumer(workload: &Value, queue: &QueueConfig) -> Option<Problem> {
    let variables = || variables(workload);
    let variable = queue.env.topic.as_deref()?;
    let (_, topic) = variables().find(|(name, _)| *name == variable)?;
    let text = if topic == queue.topic {
        format!(
            "`{variable}` is `{topic}`, from which the splitter takes the messages too: set it to `{}`, \
             and read only committed messages",
            queue.baseline_topic()
        )
    } else if topic == queue.baseline_topic()
        && variables().any(|(_, value)| value.contains("read_uncommitted"))
    {
        "it reads uncommitted messages, so it gets a batch twice after a crash of the splitter; set \
         `isolation.level=read_committed`"
            .into()
    } else {
        return None;
    };
    let kind = workload["kind"].as_str()?;
    Some(warning(("apps/v1", kind), &name_of(workload), "spec.template.spec", text))
}

fn splits(workload: &Value, queue: &str) -> bool {
    workload["spec"]["template"]["metadata"]["labels"][QUEUE_LABEL] == queue
        && workload["spec"]["replicas"] != 0
}

/// The variables of all containers that have a value.
fn variables(workload: &Value) -> impl Iterator<Item = (&str, &str)> {
    let pod = &workload["spec"]["template"]["spec"];
    let lists = ["containers", "initContainers"].into_iter();
    let containers = lists.filter_map(|list| pod[list].as_array()).flatten();
    let variables = containers.filter_map(|container| container["env"].as_array()).flatten();
    variables.filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?)))
}

fn name_of(workload: &Value) -> Name {
    let text = |field: &str| workload["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};

    use super::{Queue, Scope, queues};

    fn workload(name: &str, env: &Value, labels: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "labels": labels},
            "spec": {"replicas": 1, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "env": env}]},
            }},
        })
    }

    #[test]
    fn a_queue_without_a_splitter_and_a_baseline_that_reads_wrongly_are_problems() {
        let map = json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "data": {
                "kafka": "bootstrap.servers: kafka:9092", "topic": "orders", "group": "cart",
                "env": "topic: KAFKA_TOPIC",
            },
        });
        let map: ConfigMap = serde_json::from_value(map).expect("a ConfigMap");
        let queue = Queue::parse(&map, None).expect("a queue");
        let env = |topic: &str, level: &str| json!([{"name": "KAFKA_TOPIC", "value": topic}, {"name": "LEVEL", "value": level}]);
        let splitter = workload("splitter", &json!([]), &json!({"skycap.dev/queue": "orders"}));
        let of_sandbox = json!({"skycap.dev/sandbox": "pr-1"});
        for (consumer, expected) in [
            (workload("cart", &env("orders.baseline", "read_committed"), &json!({})), None),
            (workload("cart", &env("orders", ""), &json!({})), Some("`KAFKA_TOPIC` is `orders`")),
            (
                workload("cart", &env("orders.baseline", "read_uncommitted"), &json!({})),
                Some("twice after a crash"),
            ),
            (workload("cart", &env("payments", "read_uncommitted"), &json!({})), None),
            (workload("cart-pr-1", &env("orders", ""), &of_sandbox), None),
        ] {
            let found = queues(&[&queue], &[splitter.clone(), consumer.clone()], &Scope::All);
            let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(texts.len(), usize::from(expected.is_some()), "{consumer}: {texts:?}");
            assert!(
                texts.iter().all(|text| text.contains(expected.unwrap_or_default())),
                "{texts:?}"
            );
        }
        let found = queues(&[&queue], &[], &Scope::All);
        assert!(found.len() == 1 && found[0].text.contains("render --queue orders -n shop"));
    }
}

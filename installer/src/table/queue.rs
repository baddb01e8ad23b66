//! A queue: a topic of Kafka whose messages can belong to sandboxes. Section 11 of the contract.
//!
//! `skycap-queue` moves the messages of `orders` to `orders.baseline` and `orders.<sandbox>`, by the
//! [`rules`] that the controller makes of the sandboxes.

pub(crate) mod names;
mod properties;
pub mod rules;
pub(crate) mod usable;

use std::{collections::BTreeMap, str::FromStr};

use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};
use skycap_core::names::check_label;

pub use self::properties::{InvalidProperty, check_property};
use super::{
    data::Data,
    origin::Origin,
    yaml::{self, InvalidYaml},
};
use crate::problem::{InvalidField, InvalidValue, Problem};

/// A ConfigMap of kind `queue` that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Which ConfigMap it is, and how old.
    pub origin: Origin,
    /// What it says.
    pub config: QueueConfig,
}

impl Queue {
    /// Parses a ConfigMap of this kind.
    ///
    /// # Errors
    /// The problem for which it is rejected.
    pub fn parse(map: &ConfigMap, source: Option<&str>) -> Result<Self, Problem> {
        let origin = Origin::of(map, source);
        let parsed = QueueConfig::of(Data::of(map)).and_then(|config| {
            check_label(&origin.name).map_err(|error| InvalidField::new("metadata.name", error))?;
            check_label(&origin.namespace)
                .map_err(|error| InvalidField::new("metadata.namespace", error))?;
            Ok(config)
        });
        match parsed {
            Ok(config) => Ok(Self { origin, config }),
            Err(field) => Err(origin.refusal(field)),
        }
    }
}

/// The data of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// The properties of librdkafka, without credentials.
    pub kafka: BTreeMap<String, String>,
    /// The Secret whose keys are more properties.
    pub secret: Option<String>,
    /// The topic that producers write to.
    pub topic: String,
    /// The consumer group of the baseline.
    pub group: String,
    /// The variables of a fork that consumes it.
    pub env: QueueVariables,
    /// What becomes of unread messages when a sandbox ends.
    pub unread: Unread,
}

impl QueueConfig {
    /// Parses the data of a ConfigMap, or the files that it is mounted as.
    ///
    /// # Errors
    /// The first field that is wrong, or that nothing knows.
    pub fn parse(data: BTreeMap<String, String>) -> Result<Self, InvalidField> {
        Self::of(Data::new(data))
    }

    fn of(mut data: Data) -> Result<Self, InvalidField> {
        data.check_size()?;
        let config = Self {
            kafka: required("kafka", data.take("kafka", properties::parse)?)?,
            secret: data.take("secret", secret_name)?,
            topic: required("topic", data.take("topic", topic_name)?)?,
            group: required("group", data.take("group", group_name)?)?,
            env: data.take("env", QueueVariables::parse)?.unwrap_or_default(),
            unread: data.take("unread", str::parse)?.unwrap_or_default(),
        };
        data.close("`kafka`, `secret`, `topic`, `group`, `env`, `unread`")?;
        Ok(config)
    }

    /// The topic of the baseline.
    #[must_use]
    pub fn baseline_topic(&self) -> String {
        self.topic_of(BASELINE)
    }

    /// The topic of a sandbox, by the name of its ConfigMap.
    #[must_use]
    pub fn topic_of(&self, sandbox: &str) -> String {
        format!("{}.{sandbox}", self.topic)
    }

    /// The topics that belong to no other queue: its own and that of the baseline.
    pub(crate) fn topics(&self) -> impl Iterator<Item = String> + Clone {
        [self.topic.clone(), self.baseline_topic()].into_iter()
    }

    pub(crate) fn servers(&self) -> &str {
        self.kafka.get(SERVERS).map_or("", String::as_str)
    }

    /// The consumer group of a sandbox.
    #[must_use]
    pub fn group_of(&self, sandbox: &str) -> String {
        format!("{}-{sandbox}", self.group)
    }

    /// The variables of the forks of a sandbox, with their values.
    pub fn variables(&self, sandbox: &str) -> impl Iterator<Item = (String, String)> + use<> {
        let QueueVariables { topic, group } = self.env.clone();
        let topic = topic.map(|name| (name, self.topic_of(sandbox)));
        topic.into_iter().chain(group.map(|name| (name, self.group_of(sandbox))))
    }
}

/// The names of the variables that say to a consumer what to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueVariables {
    /// The variable with the topic.
    pub topic: Option<String>,
    /// The variable with the consumer group.
    pub group: Option<String>,
}

impl QueueVariables {
    fn parse(text: &str) -> Result<Self, InvalidVariables> {
        let mut names: BTreeMap<String, String> = yaml::parse_value(text)?;
        let env = Self { topic: names.remove("topic"), group: names.remove("group") };
        if let Some(unknown) = names.into_keys().next() {
            return Err(InvalidVariables::UnknownField(unknown));
        }
        for name in env.topic.iter().chain(&env.group) {
            let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty()
                || !name.bytes().all(is_inner)
                || name.starts_with(|first: char| first.is_ascii_digit())
            {
                let expected = "letters, digits and `_`, such as `KAFKA_TOPIC`";
                return Err(InvalidValue::new("variable", name, expected).into());
            }
        }
        match (&env.topic, &env.group) {
            (Some(topic), Some(group)) if topic == group => {
                Err(InvalidVariables::Same(topic.clone()))
            }
            _ => Ok(env),
        }
    }
}

/// Why `env` is rejected.
#[derive(Debug, thiserror::Error)]
enum InvalidVariables {
    #[error("{0}; expected `topic` and `group`, such as `topic: KAFKA_TOPIC`")]
    Yaml(#[from] InvalidYaml),
    #[error("unknown field `{0}`: expected `topic` or `group`")]
    UnknownField(String),
    #[error(transparent)]
    Value(#[from] InvalidValue),
    #[error("variable `{0}` is named twice: expected one for the topic and another for the group")]
    Same(String),
}

/// What becomes of the messages that a sandbox has not read when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unread {
    /// Their number is reported.
    #[default]
    Report,
    /// They go to the baseline, behind newer ones.
    Requeue,
}

impl FromStr for Unread {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "report" => Ok(Self::Report),
            "requeue" => Ok(Self::Requeue),
            _ => Err(InvalidValue::new("value", text, "`report` or `requeue`")),
        }
    }
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, InvalidField> {
    let missing = || InvalidField::new(&format!("data.{field}"), format!("missing `{field}`"));
    value.ok_or_else(missing)
}

fn topic_name(text: &str) -> Result<String, InvalidValue> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = !matches!(text, "" | "." | "..") && text.len() <= TOPIC_BYTES;
    let is_name = is_name && text.bytes().all(is_valid);
    let expected =
        "1 to 185 of `a-z A-Z 0-9 . _ -`, so that `.` and the name of a sandbox fit behind";
    is_name.then(|| text.to_owned()).ok_or_else(|| InvalidValue::new("topic", text, expected))
}

fn group_name(text: &str) -> Result<String, InvalidValue> {
    let is_name = !text.is_empty() && text.len() <= TOPIC_BYTES;
    let is_name = is_name && text.bytes().all(|byte| byte.is_ascii_graphic());
    let expected = "1 to 185 visible characters of ASCII";
    is_name.then(|| text.to_owned()).ok_or_else(|| InvalidValue::new("group", text, expected))
}

fn secret_name(text: &str) -> Result<String, InvalidValue> {
    let expected = "the name of a Secret of the namespace: at most 253 of `a-z 0-9 . -`";
    let is_name = text.len() <= 253 && text.split('.').all(|label| check_label(label).is_ok());
    is_name.then(|| text.to_owned()).ok_or_else(|| InvalidValue::new("Secret", text, expected))
}

/// The property that says where the brokers are.
const SERVERS: &str = "bootstrap.servers";

/// What stands behind the dot in the topic of the baseline, so that no sandbox with a queue may have this
/// name.
pub const BASELINE: &str = "baseline";

/// Maximum bytes of the topic and of the group: Kafka's 249 for a topic, less a dot and the 63 bytes of a
/// sandbox's name.
pub const TOPIC_BYTES: usize = 185;

//! The retirement of a queue: the mirror image of its adoption. The baseline goes on at the queue's own
//! topic where the splitters have stopped.

use rdkafka::error::KafkaError;

use super::{
    connection::Connection,
    end::UnreadMessages,
    groups::{Group, Readers, readers},
};
use crate::settings::Settings;

/// Why the queue cannot be retired yet.
#[derive(Debug, thiserror::Error)]
pub enum NotYet {
    /// A splitter is at work.
    #[error("a splitter still reads `{0}`; scale the splitter's Deployment to 0")]
    Splitter(String),
    /// The baseline has not read everything.
    #[error("group `{group}` has not read everything from `{topic}`; wait until it has")]
    Unread {
        /// The baseline's group.
        group: String,
        /// The baseline's topic.
        topic: String,
    },
    /// The baseline still reads its topic.
    #[error(
        "group `{group}` has read everything from `{topic}`; scale the baseline to 0 for a moment"
    )]
    Baseline {
        /// The baseline's group.
        group: String,
        /// The baseline's topic.
        topic: String,
    },
}

/// Commits the splitters' offsets as those of the baseline's group, once nobody reads any more.
///
/// # Errors
/// The inner error while somebody reads, the outer one if the brokers do not answer.
pub fn retire(
    connection: &Connection,
    settings: &Settings,
    partitions: i32,
) -> Result<Result<(), NotYet>, KafkaError> {
    let (topic, baseline) = (settings.queue.topic.clone(), settings.queue.baseline_topic());
    let name = settings.queue.group.clone();
    let own = Group::new(connection, &settings.own_group())?;
    let reads =
        |group: &str, topic: &str| readers(own.client(), connection, group, topic, partitions);
    if reads(&settings.own_group(), &topic)? != Readers::None {
        return Ok(Err(NotYet::Splitter(topic)));
    }
    if UnreadMessages::open(connection, &name, &baseline, partitions)?.any()? {
        return Ok(Err(NotYet::Unread { group: name, topic: baseline }));
    }
    if reads(&name, &baseline)? != Readers::None {
        return Ok(Err(NotYet::Baseline { group: name, topic: baseline }));
    }
    Group::new(connection, &settings.queue.group)?
        .commit(&topic, &own.offsets(&topic, partitions)?)?;
    Ok(Ok(()))
}

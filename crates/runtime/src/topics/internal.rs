//! Repartition topics, changelogs and the topics of ticks: as many partitions as they need, created
//! or refused.

use std::sync::Arc;
use std::time::Duration;

use streams_core::{InternalKind, InternalTopic, PartitionCount, Topology};

use super::{TopicMetadata, already_exists};
use crate::error::AppError;
use crate::transport::{Admin, NewTopic, TimestampType, TopicInfo};

/// Creates what is missing and checks what is there. A repartition topic may depend on another one
/// upstream, so this repeats until nothing is left.
pub(super) fn create_internal(
    topology: &Topology,
    admin: &mut dyn Admin,
    metadata: &mut TopicMetadata,
    replication: Option<i32>,
    timeout: Duration,
) -> Result<(), AppError> {
    let mut left: Vec<&InternalTopic> = topology.internal_topics().iter().collect();
    while !left.is_empty() {
        let before = left.len();
        let mut waiting = Vec::new();
        for topic in left {
            match partitions(topology, topic, metadata) {
                Some(wanted) => {
                    metadata.insert(ensure(admin, topic, wanted, replication, timeout)?)
                }
                None => waiting.push(topic),
            }
        }
        if waiting.len() == before {
            return Err(circular(waiting[0]));
        }
        left = waiting;
    }
    Ok(())
}

/// Repartition topics that depend on each other in a circle, with no source from outside.
fn circular(topic: &InternalTopic) -> AppError {
    AppError::InternalTopic {
        topic: Arc::clone(&topic.name),
        what: "a number of partitions that depends on",
        found: "itself".to_owned(),
        expected: "a source of the user's upstream".to_owned(),
    }
}

/// How many partitions an internal topic must have, and after which topic.
#[derive(Clone)]
struct RequiredPartitions {
    partitions: i32,
    /// The source that has as many; `None` if the topology says how many.
    like: Option<Arc<str>>,
}

/// How many partitions a topic must have; `None` as long as a topic that decides it is not known.
fn partitions(
    topology: &Topology,
    topic: &InternalTopic,
    metadata: &TopicMetadata,
) -> Option<RequiredPartitions> {
    let width = |sub: &usize| {
        let sources = topology.sub_topologies().get(*sub)?.sources().iter();
        let known = sources.filter(|source| source.topic != topic.name).filter_map(|source| {
            let partitions = metadata.partitions(&source.topic)?;
            Some(RequiredPartitions { partitions, like: Some(Arc::clone(&source.topic)) })
        });
        known.max_by_key(|wanted| wanted.partitions)
    };
    match (&topic.partitions, topic.kind) {
        // A table's changelog needs all sources of its task.
        (PartitionCount::LikeSources(sub), InternalKind::Changelog) => {
            let sources = topology.sub_topologies().get(*sub)?.sources();
            let all = sources.iter().all(|source| metadata.partitions(&source.topic).is_some());
            all.then(|| width(sub)).flatten()
        }
        (PartitionCount::LikeSources(sub), _) => width(sub),
        (PartitionCount::MaxOf(subs), _) => {
            subs.iter().filter_map(width).max_by_key(|wanted| wanted.partitions)
        }
        (PartitionCount::Exactly(count), _) => {
            Some(RequiredPartitions { partitions: *count, like: None })
        }
    }
}

fn ensure(
    admin: &mut dyn Admin,
    topic: &InternalTopic,
    wanted: RequiredPartitions,
    replication: Option<i32>,
    timeout: Duration,
) -> Result<TopicInfo, AppError> {
    let names = [Arc::clone(&topic.name)];
    if let Some(Some(info)) = admin.describe(&names, timeout)?.pop() {
        return checked(topic, &wanted, info);
    }
    let partitions = wanted.partitions;
    let name = Arc::clone(&topic.name);
    let new = NewTopic { name, partitions, replication, config: with_times(&topic.config) };
    match admin.create(&new, timeout) {
        Ok(()) => tracing::info!(topic = %topic.name, partitions, "created an internal topic"),
        // Another instance has created it in between; it is checked like any other.
        Err(error) if already_exists(&error) => {}
        Err(error) => return Err(error.into()),
    }
    match admin.describe(&names, timeout)?.pop().flatten() {
        Some(info) => checked(topic, &wanted, info),
        // Created, but not known yet to the broker that was asked.
        None => Ok(TopicInfo::new(new.name, partitions)),
    }
}

fn checked(
    topic: &InternalTopic,
    wanted: &RequiredPartitions,
    info: TopicInfo,
) -> Result<TopicInfo, AppError> {
    let wrong = |what, found: String, expected: String| AppError::InternalTopic {
        topic: Arc::clone(&topic.name),
        what,
        found,
        expected,
    };
    let RequiredPartitions { partitions, like } = wanted;
    if info.partitions != *partitions {
        let like = like.as_ref().map_or_else(String::new, |like| format!(", as {like} has"));
        let expected = format!("{partitions}{like}");
        return Err(wrong("this number of partitions:", info.partitions.to_string(), expected));
    }
    for (setting, expected) in with_times(&topic.config) {
        let Some(found) = value(&info, &setting).filter(|found| *found != expected) else {
            continue;
        };
        let topic = Arc::clone(&topic.name);
        return Err(AppError::InternalTopicSetting { topic, setting, found, expected });
    }
    Ok(info)
}

/// Internal topics keep the timestamps that the application gives to records, whatever the broker's
/// defaults: windows after a repartition topic depend on them, and so do rows that are restored
/// from a changelog.
const TIMES: [(&str, &str); 3] = [
    ("message.timestamp.type", "CreateTime"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

/// The configuration of an internal topic, with what all of them have in common.
pub(super) fn with_times(config: &[(String, String)]) -> Vec<(String, String)> {
    let times = TIMES.map(|(setting, value)| (setting.to_owned(), value.to_owned()));
    config.iter().cloned().chain(times).collect()
}

/// A topic's value of a setting, if the setting is one that topics are described with.
fn value(info: &TopicInfo, setting: &str) -> Option<String> {
    Some(match setting {
        "cleanup.policy" => info.cleanup_policy.clone(),
        "retention.ms" => info.retention_ms.to_string(),
        "message.timestamp.type" => match info.timestamp_type {
            TimestampType::CreateTime => "CreateTime".to_owned(),
            TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
        },
        "message.timestamp.before.max.ms" => info.timestamp_before_max_ms.to_string(),
        "message.timestamp.after.max.ms" => info.timestamp_after_max_ms.to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(change: impl FnOnce(&mut TopicInfo)) -> Option<String> {
        let config = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
        let (name, kind) = ("shop-sales-changelog".into(), InternalKind::Changelog);
        let topic =
            InternalTopic { name, kind, partitions: PartitionCount::LikeSources(0), config };
        let mut info = TopicInfo::new("shop-sales-changelog", 3);
        info.cleanup_policy = "compact".to_owned();
        change(&mut info);
        let wanted = RequiredPartitions { partitions: 3, like: Some("sales".into()) };
        checked(&topic, &wanted, info).err().map(|error| error.to_string())
    }

    #[test]
    fn a_topic_that_would_change_or_refuse_times_is_refused() {
        assert_eq!(error_of(|_| {}), None);
        let error = error_of(|info| info.timestamp_type = TimestampType::LogAppendTime);
        let expected = "the internal topic shop-sales-changelog has \
            message.timestamp.type=LogAppendTime, and must have CreateTime. To change it:\n\
            kafka-configs.sh --bootstrap-server <broker> --alter --entity-type topics \
            --entity-name shop-sales-changelog --add-config message.timestamp.type=CreateTime";
        assert_eq!(error.as_deref(), Some(expected));
        let error = error_of(|info| info.timestamp_after_max_ms = 3_600_000).expect("refused");
        assert!(error.contains("message.timestamp.after.max.ms=3600000"), "{error}");
        let error = error_of(|info| info.timestamp_before_max_ms = 1).expect("refused");
        assert!(error.contains("message.timestamp.before.max.ms=1"), "{error}");
    }
}

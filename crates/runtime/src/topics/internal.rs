//! Repartition topics, changelogs and the topics of ticks: as many partitions as they need, created
//! or refused.

use std::sync::Arc;
use std::time::Duration;

use streams_core::{InternalKind, InternalTopic, PartitionCount, Topology};

use super::{TopicMetadata, exists};
use crate::error::AppError;
use crate::transport::{Admin, NewTopic, TimestampType, TopicInfo};

/// Creates what is missing and checks what is there. A repartition topic may depend on another one
/// upstream, so this goes round until nothing is left.
pub(crate) fn create_internal(
    topology: &Topology,
    admin: &mut dyn Admin,
    layout: &mut TopicMetadata,
    replication: Option<i32>,
    timeout: Duration,
) -> Result<(), AppError> {
    let mut left: Vec<&InternalTopic> = topology.internal_topics().iter().collect();
    while !left.is_empty() {
        let before = left.len();
        let mut waiting = Vec::new();
        for topic in left {
            match partitions(topology, topic, layout) {
                Some(wanted) => layout.insert(ensure(admin, topic, wanted, replication, timeout)?),
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

/// Re-keying in a circle, with nothing that comes from outside.
fn circular(topic: &InternalTopic) -> AppError {
    AppError::InternalTopic {
        topic: Arc::clone(&topic.name),
        what: "a number of partitions that depends on",
        found: "itself".to_owned(),
        expected: "a source of the user's upstream".to_owned(),
    }
}

/// How many partitions an internal topic must have, and whose number that is.
#[derive(Clone)]
struct RequiredPartitions {
    partitions: i32,
    like: Option<Arc<str>>,
}

/// How many partitions it must have; `None` as long as a topic that decides it is not known.
fn partitions(
    topology: &Topology,
    topic: &InternalTopic,
    layout: &TopicMetadata,
) -> Option<RequiredPartitions> {
    let width = |sub: &usize| {
        let sources = topology.sub_topologies().get(*sub)?.sources().iter();
        let known = sources.filter(|source| source.topic != topic.name).filter_map(|source| {
            let partitions = layout.partitions(&source.topic)?;
            Some(RequiredPartitions { partitions, like: Some(Arc::clone(&source.topic)) })
        });
        known.max_by_key(|wanted| wanted.partitions)
    };
    match (&topic.partitions, topic.kind) {
        // A table's changelog waits for all sources of its task.
        (PartitionCount::LikeSources(sub), InternalKind::Changelog) => {
            let sources = topology.sub_topologies().get(*sub)?.sources();
            let all = sources.iter().all(|source| layout.partitions(&source.topic).is_some());
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
        // Another instance was quicker; its topic is checked like any other.
        Err(error) if exists(&error) => {}
        Err(error) => return Err(error.into()),
    }
    match admin.describe(&names, timeout)?.pop().flatten() {
        Some(info) => checked(topic, &wanted, info),
        // Created, but not yet known to the broker that was asked: it will be as it was asked for.
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
        let (found, expected) = (info.partitions.to_string(), format!("{partitions}{like}"));
        return Err(wrong("this number of partitions:", found, expected));
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

/// Whatever time the application gives to a record, it is kept: by times windows are found behind a
/// repartition topic, and rows are told apart that are restored from a changelog. A broker may have
/// other defaults.
const TIMES: [(&str, &str); 3] = [
    ("message.timestamp.type", "CreateTime"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

/// The configuration of an internal topic with what all of them have.
pub(super) fn with_times(config: &[(String, String)]) -> Vec<(String, String)> {
    let times = TIMES.map(|(setting, value)| (setting.to_owned(), value.to_owned()));
    config.iter().cloned().chain(times).collect()
}

/// What a topic has for a setting, if that is known of topics.
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

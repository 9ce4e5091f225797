//! Repartition topics and changelogs: as many partitions as they need, created or refused.

use std::sync::Arc;
use std::time::Duration;

use streams_core::{InternalKind, InternalTopic, PartitionCount, Topology};

use super::{Layout, exists};
use crate::error::AppError;
use crate::transport::{Admin, NewTopic, TopicInfo};

/// Creates what is missing and checks what is there. A repartition topic may depend on another one
/// upstream, so this goes round until nothing is left.
pub(crate) fn create_internal(
    topology: &Topology,
    admin: &mut dyn Admin,
    layout: &mut Layout,
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
struct Wanted {
    partitions: i32,
    like: Arc<str>,
}

/// How many partitions it must have; `None` as long as a topic that decides it is not known.
fn partitions(topology: &Topology, topic: &InternalTopic, layout: &Layout) -> Option<Wanted> {
    let width = |sub: &usize| {
        let sources = topology.sub_topologies().get(*sub)?.sources().iter();
        let known = sources.filter(|source| source.topic != topic.name).filter_map(|source| {
            let (partitions, like) = (layout.partitions(&source.topic)?, Arc::clone(&source.topic));
            Some(Wanted { partitions, like })
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
        (PartitionCount::LikeSources(sub), InternalKind::Repartition) => width(sub),
        (PartitionCount::MaxOf(subs), _) => {
            subs.iter().filter_map(width).max_by_key(|wanted| wanted.partitions)
        }
    }
}

fn ensure(
    admin: &mut dyn Admin,
    topic: &InternalTopic,
    wanted: Wanted,
    replication: Option<i32>,
    timeout: Duration,
) -> Result<TopicInfo, AppError> {
    let names = [Arc::clone(&topic.name)];
    if let Some(Some(info)) = admin.describe(&names, timeout)?.pop() {
        return checked(topic, &wanted, info);
    }
    let partitions = wanted.partitions;
    let new = NewTopic {
        name: Arc::clone(&topic.name),
        partitions,
        replication,
        config: topic.config.clone(),
    };
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

fn checked(topic: &InternalTopic, wanted: &Wanted, info: TopicInfo) -> Result<TopicInfo, AppError> {
    let wrong = |what, found: String, expected: String| AppError::InternalTopic {
        topic: Arc::clone(&topic.name),
        what,
        found,
        expected,
    };
    let Wanted { partitions, like } = wanted;
    if info.partitions != *partitions {
        let (found, expected) =
            (info.partitions.to_string(), format!("{partitions}, as {like} has"));
        return Err(wrong("this number of partitions:", found, expected));
    }
    for (name, expected) in &topic.config {
        let (what, found) = match name.as_str() {
            "cleanup.policy" => ("cleanup.policy", info.cleanup_policy.clone()),
            "retention.ms" => ("retention.ms", info.retention_ms.to_string()),
            _ => continue,
        };
        if found != *expected {
            return Err(wrong(what, found, expected.clone()));
        }
    }
    Ok(info)
}

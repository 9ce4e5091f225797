//! Topics at the start: the user's topics must exist, the application's own are created, and
//! nothing starts on topics that would lose or change records.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the user's topics, co-partitioning |
//! | `internal.rs` | repartition topics, changelogs, the topics of ticks |
//! | `compatibility.rs` | the topology, compared with the one that ran last |
//! | `topology_record.rs` | what an application records about itself in its own topic |
//! | `ownership.rs` | whether another application keeps something in a topic |
//! | `sink_limits.rs` | what the topics take that tasks write to |

mod compatibility;
mod internal;
mod ownership;
mod sink_limits;
mod topology_record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use streams_core::{Source, SourceKind, SubTopology, Topology};

use crate::error::{AppError, MissingTopic, MissingTopics};
use crate::transport::{Admin, ErrorKind, TopicInfo, TransportError};

pub(crate) use compatibility::TopologyCompatibility;
use internal::{create_internal, with_times};
pub(crate) use sink_limits::SinkLimits;
pub(crate) use topology_record::TopologyRecords;

/// What is known of the topics that the topology consumes, writes, and keeps tables in.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicMetadata {
    topics: BTreeMap<Arc<str>, TopicInfo>,
}

impl TopicMetadata {
    pub(crate) fn partitions(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).map(|info| info.partitions)
    }

    fn insert(&mut self, info: TopicInfo) {
        self.topics.insert(Arc::clone(&info.name), info);
    }
}

/// Checks the user's topics, then creates and checks the application's own. Those of `kept` hold
/// something already, and must exist.
pub(crate) fn prepare(
    topology: &Topology,
    admin: &mut dyn Admin,
    kept: &BTreeSet<Arc<str>>,
    replication: Option<i32>,
    timeout: Duration,
) -> Result<TopicMetadata, AppError> {
    let mut metadata = TopicMetadata::default();
    check_kept_topics(topology, admin, kept, timeout)?;
    check_user_topics(topology, admin, &mut metadata, timeout)?;
    // Also before anything is created: it would get the wrong number of partitions.
    for sub in topology.sub_topologies() {
        check_co_partitioning(sub, &metadata)?;
    }
    create_internal(topology, admin, &mut metadata, replication, timeout)?;
    for sub in topology.sub_topologies() {
        check_co_partitioning(sub, &metadata)?;
    }
    Ok(metadata)
}

fn check_kept_topics(
    topology: &Topology,
    admin: &mut dyn Admin,
    kept: &BTreeSet<Arc<str>>,
    timeout: Duration,
) -> Result<(), AppError> {
    let names: Vec<_> = kept.iter().map(Arc::clone).collect();
    if names.is_empty() {
        return Ok(());
    }
    let found = admin.describe(&names, timeout)?;
    match names.into_iter().zip(found).find(|(_, info)| info.is_none()) {
        None => Ok(()),
        Some((topic, _)) => {
            let application = Arc::clone(topology.application_id());
            Err(AppError::InternalTopicGone { application, topic })
        }
    }
}

fn check_user_topics(
    topology: &Topology,
    admin: &mut dyn Admin,
    metadata: &mut TopicMetadata,
    timeout: Duration,
) -> Result<(), AppError> {
    let sources = topology.sub_topologies().iter().flat_map(|sub| sub.sources());
    let sources = sources.filter(|source| source.kind == SourceKind::User);
    let mut needed: Vec<(Arc<str>, &'static str)> =
        sources.map(|source| (Arc::clone(&source.topic), "the topology consumes")).collect();
    let globals = topology.globals().iter().map(|source| Arc::clone(source.topic()));
    needed.extend(globals.map(|topic| (topic, "the topology keeps a global table of")));
    let sinks = topology.sink_topics().iter();
    needed.extend(sinks.map(|topic| (Arc::clone(topic), "the topology writes")));
    let names: Vec<_> = needed.iter().map(|(name, _)| Arc::clone(name)).collect();
    let found = admin.describe(&names, timeout)?;
    let mut missing: Vec<MissingTopic> = Vec::new();
    for ((topic, needed_by), info) in needed.into_iter().zip(found) {
        match info {
            Some(info) => metadata.insert(info),
            None if missing.iter().any(|one| one.topic == topic) => {}
            None => missing.push(MissingTopic { topic, needed_by }),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(AppError::NoTopics(MissingTopics(missing))) }
}

/// Compares the sources whose partitions are known.
fn check_co_partitioning(sub: &SubTopology, metadata: &TopicMetadata) -> Result<(), AppError> {
    let known =
        |source: &Source| Some((Arc::clone(&source.topic), metadata.partitions(&source.topic)?));
    let mut known = sub.sources().iter().filter_map(known);
    let Some((first, first_partitions)) = known.next() else { return Ok(()) };
    match known.find(|(_, partitions)| *partitions != first_partitions) {
        None => Ok(()),
        Some((second, second_partitions)) => {
            Err(AppError::NotCoPartitioned { first, first_partitions, second, second_partitions })
        }
    }
}

/// The source whose partitions the group assigns for the whole sub-topology: the one with the most
/// partitions, the first by name among equals. The others follow it, partition by partition.
pub(crate) fn lead_topic<'a>(
    sub: &'a SubTopology,
    metadata: &TopicMetadata,
) -> Option<&'a Arc<str>> {
    let width = |topic: &Arc<str>| metadata.partitions(topic).unwrap_or(0);
    let topics = sub.sources().iter().map(|source| &source.topic);
    topics.min_by_key(|topic| (-width(topic), (*topic).clone()))
}

/// Whether an error says that a topic exists already.
fn already_exists(error: &TransportError) -> bool {
    error.kind() == ErrorKind::Exists
}

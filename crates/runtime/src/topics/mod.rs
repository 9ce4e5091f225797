//! Topics before the start: the user's must be there, internal ones are created, and nothing is
//! started on wrong ones.

mod compatibility;
mod internal;
mod ownership;
mod sink_limits;
mod topology_record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streams_core::{Source, SourceKind, SubTopology, Topology};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{AppError, MissingTopic, MissingTopics};
use crate::transport::{Admin, ErrorKind, TopicInfo, TransportError};

pub(crate) use compatibility::TopologyCompatibility;
pub(crate) use internal::create_internal;
use internal::with_times;
pub(crate) use sink_limits::SinkLimits;

/// What is known of the topics that the topology consumes and keeps tables in.
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

/// Checks the user's topics, then creates and checks the application's own; those of `kept` must
/// be there.
pub(crate) fn prepare(
    topology: &Topology,
    admin: &mut dyn Admin,
    kept: &BTreeSet<Arc<str>>,
    replication: Option<i32>,
    timeout: Duration,
) -> Result<TopicMetadata, AppError> {
    let mut layout = TopicMetadata::default();
    check_kept_topics(topology, admin, kept, timeout)?;
    check_user_topics(topology, admin, &mut layout, timeout)?;
    // Before anything is created for the wrong number of partitions, too.
    for sub in topology.sub_topologies() {
        check_co_partitioning(sub, &layout)?;
    }
    create_internal(topology, admin, &mut layout, replication, timeout)?;
    for sub in topology.sub_topologies() {
        check_co_partitioning(sub, &layout)?;
    }
    Ok(layout)
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
    let gone = names.into_iter().zip(found).find(|(_, info)| info.is_none());
    let application = || Arc::clone(topology.application_id());
    match gone {
        None => Ok(()),
        Some((topic, _)) => Err(AppError::InternalTopicGone { application: application(), topic }),
    }
}

fn check_user_topics(
    topology: &Topology,
    admin: &mut dyn Admin,
    layout: &mut TopicMetadata,
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
            Some(info) => layout.insert(info),
            None if missing.iter().any(|one| one.topic == topic) => {}
            None => missing.push(MissingTopic { topic, needed_by }),
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(AppError::NoTopics(MissingTopics(missing))),
    }
}

/// Compares the sources whose partitions are known.
fn check_co_partitioning(sub: &SubTopology, layout: &TopicMetadata) -> Result<(), AppError> {
    let known =
        |source: &Source| Some((Arc::clone(&source.topic), layout.partitions(&source.topic)?));
    let mut known = sub.sources().iter().filter_map(known);
    let Some((first, first_partitions)) = known.next() else { return Ok(()) };
    match known.find(|(_, partitions)| *partitions != first_partitions) {
        None => Ok(()),
        Some((second, second_partitions)) => {
            Err(AppError::NotCoPartitioned { first, first_partitions, second, second_partitions })
        }
    }
}

/// The source whose partitions the group shares out for the whole sub-topology: the one with most
/// partitions, the first by name among equals. The others follow it, partition by partition.
pub(crate) fn lead_topic<'a>(sub: &'a SubTopology, layout: &TopicMetadata) -> Option<&'a Arc<str>> {
    let width = |topic: &Arc<str>| layout.partitions(topic).unwrap_or(0);
    let topics = sub.sources().iter().map(|source| &source.topic);
    topics.min_by_key(|topic| (-width(topic), (*topic).clone()))
}

/// [`retried`], for the start: ends early when the start is cancelled.
pub(crate) fn retried_unless<T>(
    cancelled: &AtomicBool,
    clock: &dyn Clock,
    config: &Config,
    mut attempt: impl FnMut() -> Result<T, AppError>,
) -> Result<T, AppError> {
    retried(clock, &config.broker, config.connect_timeout, || {
        let result = attempt();
        if cancelled.load(Ordering::Acquire) {
            let (context, cause) = ("connecting", "the start was cancelled");
            return Err(TransportError::new(ErrorKind::Refused, context, cause).into());
        }
        result
    })
}

/// Runs a request until it works or `timeout` has passed, as long as trying again may help.
pub(crate) fn retried<T>(
    clock: &dyn Clock,
    broker: &str,
    timeout: Duration,
    mut attempt: impl FnMut() -> Result<T, AppError>,
) -> Result<T, AppError> {
    let started = clock.monotonic();
    let mut say_at = Duration::ZERO;
    loop {
        let last = match attempt() {
            Err(AppError::Transport(error)) if is_retriable(&error) => error,
            other => return other,
        };
        let waited = clock.monotonic().saturating_sub(started);
        if waited >= timeout {
            return Err(AppError::Unreachable { broker: broker.to_owned(), waited, last });
        }
        if waited >= say_at {
            say_at = waited + Duration::from_secs(3);
            tracing::warn!(broker, error = %last, "the log cannot be reached yet, trying again");
        }
        clock.sleep(RETRY_EVERY);
    }
}

/// Between two attempts.
const RETRY_EVERY: Duration = Duration::from_millis(100);

fn is_retriable(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Unknown | ErrorKind::Fatal)
}

/// Whether an error says that something is there already.
fn exists(error: &TransportError) -> bool {
    error.kind() == ErrorKind::Exists
}

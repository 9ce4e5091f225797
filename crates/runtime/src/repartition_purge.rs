//! Deletes consumed records from repartition topics. The broker keeps these topics forever, so that
//! no record is lost before it is processed; the application deletes what it has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use streams_core::{SourceKind, TopicPartition, Topology};

use crate::clock::Clock;
use crate::transport::{Admin, OffsetCommit, Transport};

/// How often records are deleted; Kafka Streams' `repartition.purge.interval.ms`.
const PURGE_INTERVAL: Duration = Duration::from_secs(30);

/// How long the request may take. It blocks a restorer, and a failed one is made again later.
const PURGE_TIMEOUT: Duration = Duration::from_secs(2);

/// How far repartition topics have been consumed. Workers write it after their commits.
#[derive(Clone, Debug)]
pub(crate) struct ConsumedOffsets {
    /// The repartition topics.
    topics: Arc<BTreeSet<Arc<str>>>,
    offsets: Arc<Mutex<BTreeMap<TopicPartition, i64>>>,
}

impl ConsumedOffsets {
    pub(crate) fn new(topology: &Topology) -> Self {
        let sources = topology.sub_topologies().iter().flat_map(|sub| sub.sources());
        let topics = sources
            .filter(|source| source.kind == SourceKind::Repartition)
            .map(|source| Arc::clone(&source.topic));
        Self { topics: Arc::new(topics.collect()), offsets: Arc::default() }
    }

    /// Notes offsets that were committed.
    pub(crate) fn note(&self, committed: &[OffsetCommit]) {
        if self.topics.is_empty() {
            return;
        }
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        for commit in committed {
            if self.topics.contains(&commit.partition.topic) {
                offsets.insert(commit.partition.clone(), commit.offset);
            }
        }
    }

    fn take(&self) -> Vec<(TopicPartition, i64)> {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *offsets).into_iter().collect()
    }
}

/// Deletes consumed records from time to time.
pub(crate) struct Purger {
    consumed: ConsumedOffsets,
    transport: Arc<dyn Transport>,
    admin: Option<Box<dyn Admin>>,
    clock: Arc<dyn Clock>,
    purge_at: Duration,
}

impl Purger {
    pub(crate) fn new(
        consumed: ConsumedOffsets,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let purge_at = clock.monotonic() + PURGE_INTERVAL;
        Self { consumed, transport, admin: None, clock, purge_at }
    }

    pub(crate) fn turn(&mut self) {
        if self.clock.monotonic() < self.purge_at {
            return;
        }
        self.purge_at = self.clock.monotonic() + PURGE_INTERVAL;
        let before = self.consumed.take();
        if before.is_empty() {
            return;
        }
        if self.admin.is_none() {
            self.admin = self.transport.admin().ok();
        }
        let Some(admin) = &mut self.admin else { return };
        if let Err(error) = admin.delete_records(&before, PURGE_TIMEOUT) {
            tracing::info!(%error, "consumed repartition records were not deleted; retrying later");
        }
    }
}

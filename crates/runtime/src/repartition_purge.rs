//! Repartition topics are kept for ever as far as the broker is concerned; what was consumed and
//! committed is deleted by the application.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use streams_core::{SourceKind, TopicPartition, Topology};

use crate::clock::Clock;
use crate::transport::{Admin, OffsetCommit, Transport};

/// How often records are deleted.
const EVERY: Duration = Duration::from_secs(30);

/// How long the request may take; there is always a next time.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How far repartition topics have been consumed: written by workers after their commits.
#[derive(Clone, Debug)]
pub(crate) struct ConsumedOffsets {
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

/// Deletes what was consumed, from time to time.
pub(crate) struct Purger {
    consumed: ConsumedOffsets,
    transport: Arc<dyn Transport>,
    admin: Option<Box<dyn Admin>>,
    clock: Arc<dyn Clock>,
    at: Duration,
}

impl Purger {
    pub(crate) fn new(
        consumed: ConsumedOffsets,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let at = clock.monotonic() + EVERY;
        Self { consumed, transport, admin: None, clock, at }
    }

    pub(crate) fn turn(&mut self) {
        if self.clock.monotonic() < self.at {
            return;
        }
        self.at = self.clock.monotonic() + EVERY;
        let before = self.consumed.take();
        if before.is_empty() {
            return;
        }
        if self.admin.is_none() {
            self.admin = self.transport.admin().ok();
        }
        let Some(admin) = &mut self.admin else { return };
        if let Err(error) = admin.delete_records(&before, TIMEOUT) {
            tracing::info!(%error, "consumed repartition records were not deleted, later again");
        }
    }
}

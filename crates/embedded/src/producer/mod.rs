//! Producers collect records into chunks outside the lock. A chunk is appended when it is full, at
//! a flush, or at the end of the transaction.

mod route;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, ProducerConfig, Result,
    TransportError,
};
use streams_core::TopicPartition;

use crate::chunk::{Chunk, NewRecord, encode_headers};
use crate::error::{abortable, fatal, refused};
use crate::partition::PartitionId;
use crate::shared::{SharedLog, unknown};
use crate::state::LogState;
use crate::transaction::ProducerIdentity;

use route::Route;

/// When a chunk is full, in bytes. Big enough to make the lock's cost per record negligible, small
/// enough to be read from disk at once.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct EmbeddedProducer {
    shared: Arc<SharedLog>,
    config: ProducerConfig,
    /// Set for a transactional producer once it is initialised.
    identity: Option<ProducerIdentity>,
    phase: Phase,
    topics: Vec<Route>,
    pending_bytes: usize,
    /// The last acknowledged offset of tracked partitions.
    tracked: BTreeMap<TopicPartition, Option<i64>>,
    /// Appended, not acknowledged yet.
    appended: BTreeMap<PartitionId, i64>,
    headers: Vec<u8>,
}

/// The state of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Ready,
    InTransaction,
    /// The transaction failed and can only be aborted.
    MustAbort,
    /// The producer failed and can only be dropped.
    Dead,
}

impl EmbeddedProducer {
    pub(crate) fn new(shared: Arc<SharedLog>, config: &ProducerConfig) -> Self {
        let phase = if config.transactional_id.is_some() { Phase::New } else { Phase::Ready };
        Self {
            shared,
            config: config.clone(),
            identity: None,
            phase,
            topics: Vec::new(),
            pending_bytes: 0,
            tracked: BTreeMap::new(),
            appended: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// The index of the topic's route.
    fn route(&mut self, topic: &Arc<str>) -> Result<usize> {
        let known = self.topics.iter().position(|route| Arc::ptr_eq(&route.topic, topic));
        let known = known.or_else(|| self.topics.iter().position(|route| route.topic == *topic));
        if let Some(index) = known {
            return Ok(index);
        }
        let route = Route::new(topic, self.shared.lock().topic("send to", topic)?);
        self.topics.push(route);
        Ok(self.topics.len() - 1)
    }

    /// Fails unless the producer is in `phase`.
    fn expect(&self, phase: Phase, doing: &str) -> Result<()> {
        if self.phase == phase {
            return Ok(());
        }
        let context = match &self.config.transactional_id {
            Some(id) => format!("{doing} as {id}"),
            None => doing.to_owned(),
        };
        Err(match self.phase {
            Phase::Dead => fatal(context, "the producer has failed before"),
            Phase::MustAbort => abortable(context, "the transaction has failed before"),
            Phase::New => refused(context, "the producer is not initialised"),
            Phase::Ready => refused(context, "there is no open transaction"),
            Phase::InTransaction => refused(context, "a transaction is open"),
        })
    }

    /// The phase in which records may be sent.
    fn sending(&self) -> Phase {
        match self.config.transactional_id {
            Some(_) => Phase::InTransaction,
            None => Phase::Ready,
        }
    }

    /// Takes all pending chunks.
    fn take_pending(&mut self) -> Vec<(PartitionId, Chunk)> {
        self.pending_bytes = 0;
        let mut chunks = Vec::new();
        for route in &mut self.topics {
            for (id, chunk) in route.partitions.iter().zip(&mut route.pending) {
                if !chunk.entries.is_empty() {
                    chunks.push((*id, std::mem::take(chunk)));
                }
            }
        }
        chunks
    }

    /// Appends chunks, all under one lock.
    fn append(
        &mut self,
        state: &mut LogState,
        mut chunks: Vec<(PartitionId, Chunk)>,
    ) -> Result<()> {
        state.check_health()?;
        let wall = self.shared.clock.wall();
        chunks.iter_mut().for_each(|(_, chunk)| chunk.appended = wall);
        let appended = match &self.identity {
            Some(identity) => {
                state.check_fence(identity, "send")?;
                state.append_in_transaction(identity, chunks, self.shared.clock.elapsed())
            }
            None => {
                let append = |(id, chunk)| (id, state.append(id, chunk, None));
                chunks.into_iter().map(append).collect()
            }
        };
        if !self.tracked.is_empty() {
            self.appended.extend(appended);
        }
        Ok(())
    }

    /// Appends all pending chunks, and runs `then` under the same lock.
    fn append_pending(
        &mut self,
        then: impl FnOnce(&mut LogState, &Self) -> Result<()>,
    ) -> Result<()> {
        let chunks = self.take_pending();
        let shared = self.shared.clone();
        let mut state = shared.lock_now();
        let result = self.append(&mut state, chunks).and_then(|()| then(&mut state, self));
        drop(state);
        shared.notify();
        result.map_err(|error| self.failed(error))
    }

    /// Updates the phase after an error.
    fn failed(&mut self, error: TransportError) -> TransportError {
        self.phase = match error.kind() {
            ErrorKind::Fenced | ErrorKind::Unknown | ErrorKind::Fatal => Phase::Dead,
            ErrorKind::Abortable if self.phase == Phase::InTransaction => Phase::MustAbort,
            _ => self.phase,
        };
        error
    }

    /// Acknowledges appended records, which are now on disk.
    fn acknowledge(&mut self) {
        if self.appended.is_empty() {
            return;
        }
        let state = self.shared.lock();
        for (id, last) in std::mem::take(&mut self.appended) {
            if let Some(tracked) = self.tracked.get_mut(&state.partition(id).name) {
                *tracked = Some(last);
            }
        }
    }
}

impl Producer for EmbeddedProducer {
    fn init(&mut self, _: Duration) -> Result<()> {
        let Some(id) = self.config.transactional_id.clone() else {
            return self.expect(Phase::Ready, "init");
        };
        self.expect(Phase::New, "init")?;
        let mut state = self.shared.lock_now();
        state.check_health()?;
        self.identity = Some(state.init_producer(&id, self.config.transaction_timeout));
        drop(state);
        self.shared.notify();
        self.shared.sync().map_err(|error| self.failed(error))?;
        self.phase = Phase::Ready;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if self.config.transactional_id.is_none() {
            return Err(refused("begin", "the producer has no transactional id"));
        }
        self.expect(Phase::Ready, "begin")?;
        self.phase = Phase::InTransaction;
        Ok(())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.expect(self.sending(), "send")?;
        let index = self.route(record.topic)?;
        self.headers.clear();
        if let Some(headers) = record.headers {
            encode_headers(headers, &mut self.headers);
        }
        let route = &mut self.topics[index];
        let Outgoing { key, value, timestamp, .. } = *record;
        let new = NewRecord { key, value, timestamp, headers: &self.headers };
        route.check(record, || self.shared.clock.wall())?;
        let number = route.choose(record)?;
        let chunk = &mut route.pending[number];
        chunk.push(chunk.entries.len() as u32, new);
        self.pending_bytes += new.len();
        if chunk.bytes.len() >= CHUNK_BYTES || chunk.entries.len() >= CHUNK_BYTES / 16 {
            let full = (route.partitions[number], std::mem::take(chunk));
            self.pending_bytes = self.pending_bytes.saturating_sub(full.1.bytes.len());
            let shared = self.shared.clone();
            let result = self.append(&mut shared.lock_now(), vec![full]);
            shared.notify_data();
            result.and_then(|()| shared.sync_if_much()).map_err(|error| self.failed(error))?;
        } else if self.pending_bytes > self.config.buffer_bytes_max {
            self.append_pending(|_, _| Ok(()))?;
        }
        Ok(())
    }

    fn flush(&mut self, _: Duration) -> Result<()> {
        self.expect(self.sending(), "flush")?;
        self.append_pending(|_, _| Ok(()))?;
        self.shared.sync().map_err(|error| self.failed(error))?;
        self.acknowledge();
        if self.identity.is_none() {
            self.shared.maintain_if_due();
        }
        Ok(())
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        _: Duration,
    ) -> Result<()> {
        self.expect(Phase::InTransaction, "send offsets")?;
        let now = self.shared.clock.elapsed();
        let Some(identity) = self.identity.clone() else { return Ok(()) };
        let mut state = self.shared.lock_now();
        state.check_health()?;
        let result = state.add_offsets(&identity, offsets, group, now);
        drop(state);
        result.map_err(|error| self.failed(error))
    }

    fn commit(&mut self, _: Duration) -> Result<()> {
        self.expect(Phase::InTransaction, "commit")?;
        self.append_pending(|state, producer| {
            let Some(identity) = &producer.identity else { return Ok(()) };
            state.check_fence(identity, "commit")?;
            state.end_transaction(&identity.id, true);
            Ok(())
        })?;
        // If the disk fails now, only the next start can tell whether the commit was written.
        let written = self.shared.sync().map_err(|error| unknown("commit", error));
        written.map_err(|error| self.failed(error))?;
        self.acknowledge();
        self.phase = Phase::Ready;
        self.shared.maintain_if_due();
        Ok(())
    }

    fn abort(&mut self, _: Duration) -> Result<()> {
        if self.phase != Phase::MustAbort {
            self.expect(Phase::InTransaction, "abort")?;
        }
        // Pending records were never appended: drop them.
        drop(self.take_pending());
        let Some(identity) = self.identity.clone() else { return Ok(()) };
        let mut state = self.shared.lock_now();
        let result = state.check_health().and_then(|()| state.check_fence(&identity, "abort"));
        if result.is_ok() {
            state.end_transaction(&identity.id, false);
        }
        drop(state);
        self.shared.notify();
        let result = result.and_then(|()| self.shared.sync());
        result.map_err(|error| self.failed(error))?;
        self.acknowledge();
        self.phase = Phase::Ready;
        Ok(())
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.tracked.entry(partition.clone()).or_insert(None);
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.tracked.get(partition).copied().flatten()
    }
}

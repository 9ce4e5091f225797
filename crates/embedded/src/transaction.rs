//! Transactional producers: the holder of each id, its epoch, and its open transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{ErrorKind, GroupMetadata, OffsetCommit, Result, TransportError};
use streams_core::TopicPartition;

use crate::aborted::Aborted;
use crate::chunk::Chunk;
use crate::error::fenced;
use crate::group::{OffsetAndMetadata, check_metadata_len};
use crate::partition::{PartitionId, ProducerId};
use crate::state::LogState;

/// The state of a transactional id.
#[derive(Debug)]
pub(crate) struct Transactional {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: i16,
    pub(crate) timeout: Duration,
    pub(crate) open: Option<Open>,
}

/// An open transaction, from its first record or offset.
#[derive(Debug)]
pub(crate) struct Open {
    started: Duration,
    /// Its first offset in each partition.
    pub(crate) partitions: BTreeMap<PartitionId, i64>,
    /// Pending offsets by group.
    offsets: BTreeMap<Arc<str>, BTreeMap<TopicPartition, OffsetAndMetadata>>,
}

impl Open {
    /// A transaction that a dead process left on disk. Its pending offsets were never written.
    pub(crate) fn left_on_disk(partitions: BTreeMap<PartitionId, i64>) -> Self {
        Self { started: Duration::ZERO, partitions, offsets: BTreeMap::new() }
    }
}

/// A transaction that has ended, but is not visible to readers yet.
#[derive(Debug)]
pub(crate) struct Ending {
    producer: ProducerId,
    /// With the aborted ranges, if it was aborted.
    partitions: Vec<(PartitionId, Option<Aborted>)>,
    offsets: BTreeMap<Arc<str>, BTreeMap<TopicPartition, OffsetAndMetadata>>,
    commit: bool,
}

/// A producer's identity; only the one with the latest epoch may write.
#[derive(Clone, Debug)]
pub(crate) struct ProducerIdentity {
    pub(crate) id: Arc<str>,
    pub(crate) producer: ProducerId,
    pub(crate) epoch: i16,
}

impl LogState {
    /// Makes the caller the holder of `id`: fences older producers and aborts their open
    /// transaction.
    pub(crate) fn init_producer(&mut self, id: &Arc<str>, timeout: Duration) -> ProducerIdentity {
        self.abort_open(id);
        let next = self.producers;
        let holder = self.transactional.entry(id.clone()).or_insert_with(|| Transactional {
            producer: next,
            epoch: -1,
            timeout,
            open: None,
        });
        // When the epoch is exhausted, a new producer id replaces it, as in Kafka.
        if holder.epoch >= i16::MAX - 1 {
            holder.producer = next;
            holder.epoch = -1;
        }
        holder.epoch += 1;
        holder.timeout = timeout;
        let identity =
            ProducerIdentity { id: id.clone(), producer: holder.producer, epoch: holder.epoch };
        if identity.producer == next {
            self.producers += 1;
        }
        self.changed_transactional(id);
        tracing::debug!(
            transactional.id = %id,
            producer = identity.producer,
            epoch = identity.epoch,
            "producer initialised",
        );
        identity
    }

    /// Fails if a newer producer has this id.
    pub(crate) fn check_fence(&self, identity: &ProducerIdentity, doing: &str) -> Result<()> {
        let holder = self.transactional.get(&identity.id);
        let current = holder.is_some_and(|holder| {
            holder.producer == identity.producer && holder.epoch == identity.epoch
        });
        if current {
            return Ok(());
        }
        let context = format!("{doing} as {}", identity.id);
        let why = "a newer producer with this transactional id, or the transaction's time-out, \
                   has fenced this one";
        Err(fenced(context, why))
    }

    /// Appends chunks of a transaction. The fence must have been checked. Returns the offsets of
    /// their last records.
    pub(crate) fn append_in_transaction(
        &mut self,
        identity: &ProducerIdentity,
        chunks: Vec<(PartitionId, Chunk)>,
        now: Duration,
    ) -> Vec<(PartitionId, i64)> {
        let mut appended = Vec::with_capacity(chunks.len());
        for (id, chunk) in chunks {
            let first = self.partition(id).end;
            let Some(open) = self.open(identity, now) else { return appended };
            let is_new = !open.partitions.contains_key(&id);
            open.partitions.entry(id).or_insert(first);
            if is_new {
                self.changed_transactional(&identity.id);
            }
            appended.push((id, self.append(id, chunk, Some(identity.producer))));
        }
        appended
    }

    /// Adds offsets to a transaction, if the group knows the member in its generation.
    pub(crate) fn add_offsets(
        &mut self,
        identity: &ProducerIdentity,
        offsets: &[OffsetCommit],
        metadata: &GroupMetadata,
        now: Duration,
    ) -> Result<()> {
        self.check_fence(identity, "send offsets")?;
        check_metadata_len(offsets)?;
        let context = || format!("send offsets of group {}", metadata.group_id);
        self.expire_members(now);
        let group = self.groups.get_mut(&metadata.group_id);
        let known = match &group {
            Some(group) => group.check(&metadata.member_id, metadata.generation),
            None => Err("no such group".to_owned()),
        };
        known.map_err(|why| TransportError::new(ErrorKind::Abortable, context(), why))?;
        if let Some(group) = group {
            group.offsets.pend(identity.producer, offsets);
        }
        if let Some(open) = self.open(identity, now) {
            let pending = open.offsets.entry(metadata.group_id.clone()).or_default();
            pending
                .extend(offsets.iter().map(|o| (o.partition.clone(), OffsetAndMetadata::from(o))));
        }
        Ok(())
    }

    /// The holder's open transaction, started now if there is none.
    fn open(&mut self, identity: &ProducerIdentity, now: Duration) -> Option<&mut Open> {
        let holder = self.transactional.get_mut(&identity.id)?;
        if holder.open.is_none() {
            let deadline = now.saturating_add(holder.timeout);
            let earliest = self.transaction_deadline.map_or(deadline, |other| other.min(deadline));
            self.transaction_deadline = Some(earliest);
        }
        Some(holder.open.get_or_insert_with(|| Open {
            started: now,
            partitions: BTreeMap::new(),
            offsets: BTreeMap::new(),
        }))
    }

    /// Ends the transaction of `id`, if there is one, and writes its markers.
    pub(crate) fn end_transaction(&mut self, id: &Arc<str>, commit: bool) {
        let Some(holder) = self.transactional.get_mut(id) else { return };
        let Some(open) = holder.open.take() else { return };
        let producer = holder.producer;
        let mut partitions = Vec::with_capacity(open.partitions.len());
        for (partition, first) in open.partitions {
            let marker = self.partition_mut(partition).mark();
            let aborted = (!commit).then_some(Aborted { producer, first, marker });
            if let Some(unflushed) = &mut self.unflushed {
                unflushed.marker(partition, aborted);
            }
            partitions.push((partition, aborted));
        }
        if let (Some(unflushed), true) = (&mut self.unflushed, commit) {
            for (group, offsets) in &open.offsets {
                for (partition, committed) in offsets {
                    unflushed.offset(group, partition, committed.clone());
                }
            }
        }
        self.changed_transactional(id);
        self.endings.push(Ending { producer, partitions, offsets: open.offsets, commit });
        if self.unflushed.is_none() {
            let endings = std::mem::take(&mut self.endings);
            self.complete(endings);
        }
    }

    /// Shows ended transactions to readers. Their records are on disk, if there is one.
    pub(crate) fn complete(&mut self, endings: Vec<Ending>) {
        let in_memory = self.unflushed.is_none();
        for ending in endings {
            for (id, aborted) in ending.partitions {
                let partition = self.partition_mut(id);
                partition.open.remove(&ending.producer);
                if let Some(aborted) = aborted {
                    partition.aborted.insert(aborted);
                }
                if in_memory {
                    partition.visible = partition.end;
                }
            }
            for (group, offsets) in ending.offsets {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.offsets.settle(ending.producer, offsets, ending.commit);
                }
            }
        }
    }

    /// Aborts transactions that have timed out, and fences their producers. Returns whether there
    /// were any.
    pub(crate) fn expire_transactions(&mut self, now: Duration) -> bool {
        if self.transaction_deadline.is_none_or(|deadline| now < deadline) {
            return false;
        }
        let deadline = |t: &Transactional| Some(t.open.as_ref()?.started.saturating_add(t.timeout));
        let is_late = |t: &Transactional| deadline(t).is_some_and(|deadline| deadline <= now);
        let late = self.transactional.iter().filter(|(_, t)| is_late(t));
        let late: Vec<_> = late.map(|(id, _)| id.clone()).collect();
        for id in &late {
            tracing::warn!(transactional.id = %id, "aborting a transaction that timed out");
            self.abort_open(id);
        }
        self.transaction_deadline = self.transactional.values().filter_map(deadline).min();
        !late.is_empty()
    }

    /// Aborts the open transaction of `id` in a new epoch, which fences its producer.
    pub(crate) fn abort_open(&mut self, id: &Arc<str>) {
        let Some(holder) = self.transactional.get_mut(id) else { return };
        if holder.open.is_some() {
            holder.epoch = holder.epoch.saturating_add(1);
            self.end_transaction(id, false);
        }
    }

    fn changed_transactional(&mut self, id: &Arc<str>) {
        if let Some(unflushed) = &mut self.unflushed {
            unflushed.transactional(id);
        }
    }
}

//! The state under the log's one lock. Nothing here waits or accesses the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{NewTopic, Result, TransportError};
use streams_core::TopicPartition;

use crate::chunk::Chunk;
use crate::error::{fatal, no_partition, no_topic, refused};
use crate::group::GroupState;
use crate::partition::{PartitionId, PartitionLog, ProducerId, Segment};
use crate::topic::{TopicConfig, TopicState, check, check_collisions};
use crate::transaction::{Ending, Transactional};
use crate::unflushed::UnflushedChanges;

/// The log's state.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    pub(crate) topics: BTreeMap<Arc<str>, TopicState>,
    /// By [`PartitionId`].
    pub(crate) partitions: Vec<PartitionLog>,
    pub(crate) transactional: BTreeMap<Arc<str>, Transactional>,
    /// The next producer id.
    pub(crate) producers: ProducerId,
    pub(crate) groups: BTreeMap<Arc<str>, GroupState>,
    /// Transactions that have ended but may not be on disk yet. Readers see them once they are.
    pub(crate) endings: Vec<Ending>,
    /// What is not on disk yet; `None` for a log in memory.
    pub(crate) unflushed: Option<UnflushedChanges>,
    pub(crate) cache: Cache,
    /// No open transaction times out before this moment; `None` if there is none.
    pub(crate) transaction_deadline: Option<Duration>,
    /// Set once the disk has failed; every call is refused after that.
    pub(crate) failure: Option<String>,
}

/// The segments in memory, oldest first. Only used with a disk.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    order: VecDeque<(PartitionId, i64, usize)>,
    bytes: usize,
    pub(crate) bytes_max: usize,
}

impl LogState {
    /// Refuses everything once the disk has failed.
    pub(crate) fn check_health(&self) -> Result<()> {
        match &self.failure {
            Some(failure) => Err(fatal("the embedded log has stopped", failure.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn create_topic(&mut self, new: &NewTopic) -> Result<()> {
        let context = || format!("create topic {}", new.name);
        check(new).map_err(|why| refused(context(), why))?;
        if self.topics.contains_key(&new.name) {
            let kind = runtime::transport::ErrorKind::Exists;
            return Err(TransportError::new(kind, context(), "it already exists"));
        }
        check_collisions(&new.name, self.topics.keys()).map_err(|why| refused(context(), why))?;
        let config = TopicConfig::parse(&new.config).map_err(|why| refused(context(), why))?;
        let first = self.partitions.len() as PartitionId;
        let partitions: Vec<_> = (first..first + new.partitions as PartitionId).collect();
        for number in 0..new.partitions {
            let name = TopicPartition::new(new.name.clone(), number);
            self.partitions.push(PartitionLog::new(name));
        }
        if let Some(unflushed) = &mut self.unflushed {
            unflushed.topic(&new.name, &partitions);
        }
        let topic = TopicState { name: new.name.clone(), partitions, config };
        self.topics.insert(new.name.clone(), topic);
        self.rebalance_subscribers(&new.name);
        tracing::info!(topic = %new.name, partitions = new.partitions, "topic created");
        Ok(())
    }

    /// Adds partitions to a topic. Only in memory: on disk, the ids of a topic's partitions are
    /// consecutive.
    pub(crate) fn grow_topic(&mut self, name: &Arc<str>, count: i32) -> Result<()> {
        let context = || format!("add partitions to {name}");
        if self.unflushed.is_some() {
            return Err(refused(context(), "topics of a log on disk cannot grow"));
        }
        let had = self.topic(&context(), name)?.partitions.len() as i32;
        if count <= had {
            return Err(refused(
                context(),
                format!("it already has {had}, which is not fewer than {count}"),
            ));
        }
        for number in had..count {
            let id = self.partitions.len() as PartitionId;
            self.partitions.push(PartitionLog::new(TopicPartition::new(name.clone(), number)));
            if let Some(topic) = self.topics.get_mut(name) {
                topic.partitions.push(id);
            }
        }
        self.rebalance_subscribers(name);
        tracing::info!(topic = %name, partitions = count, "topic has grown");
        Ok(())
    }

    /// Rebalances the groups that subscribe to this topic.
    fn rebalance_subscribers(&mut self, topic: &Arc<str>) {
        let Self { groups, topics, .. } = self;
        for group in groups.values_mut().filter(|group| group.subscribes(topic)) {
            group.rebalance(topics);
        }
    }

    pub(crate) fn topic(&self, doing: &str, name: &str) -> Result<&TopicState> {
        self.topics.get(name).ok_or_else(|| no_topic(doing, name))
    }

    pub(crate) fn partition_id(&self, doing: &str, name: &TopicPartition) -> Result<PartitionId> {
        let topic = self.topic(doing, &name.topic)?;
        let id = usize::try_from(name.partition).ok().and_then(|n| topic.partitions.get(n));
        id.copied().ok_or_else(|| no_partition(doing, name))
    }

    /// A partition by its id. Only this state creates ids, and none is ever removed.
    pub(crate) fn partition(&self, id: PartitionId) -> &PartitionLog {
        &self.partitions[id as usize]
    }

    pub(crate) fn partition_mut(&mut self, id: PartitionId) -> &mut PartitionLog {
        &mut self.partitions[id as usize]
    }

    /// Appends a chunk; returns the offset of its last record.
    pub(crate) fn append(
        &mut self,
        id: PartitionId,
        chunk: Chunk,
        producer: Option<ProducerId>,
    ) -> i64 {
        let partition = &mut self.partitions[id as usize];
        let segment = partition.append(Arc::new(chunk), producer);
        let last = segment.last();
        match &mut self.unflushed {
            Some(unflushed) => {
                self.cache.entered(id, &segment);
                unflushed.segment(id, segment);
            }
            None => partition.visible = partition.end,
        }
        last
    }

    /// Moves the start of a partition.
    pub(crate) fn trim(&mut self, id: PartitionId, before: i64) {
        let partition = &mut self.partitions[id as usize];
        if before <= partition.start {
            return;
        }
        partition.trim(before);
        if let Some(unflushed) = &mut self.unflushed {
            unflushed.trim(id, partition.start);
        }
    }

    /// Drops segments until the cache is within its bound. Some may not be on disk yet: `unflushed`
    /// still holds them, and no reader may see them before they are written.
    pub(crate) fn evict(&mut self) {
        while self.cache.bytes > self.cache.bytes_max {
            let Some(&(id, base, bytes)) = self.cache.order.front() else { return };
            let partition = &mut self.partitions[id as usize];
            if partition.tail.front().is_some_and(|first| first.base == base) {
                partition.evict_first();
            }
            self.cache.order.pop_front();
            self.cache.bytes -= bytes;
        }
    }
}

impl Cache {
    fn entered(&mut self, id: PartitionId, segment: &Segment) {
        let bytes = segment.chunk.weight();
        self.order.push_back((id, segment.base, bytes));
        self.bytes += bytes;
    }
}

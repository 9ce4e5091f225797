//! A producer's view of a topic.

use std::sync::Arc;

use runtime::transport::{Outgoing, Result};
use streams_core::{Timestamp, TopicPartition, partition_for, record_bytes};

use crate::chunk::Chunk;
use crate::error::{no_partition, refused};
use crate::partition::PartitionId;
use crate::topic::TopicState;

/// What the producer needs to know about a topic, and its pending records.
#[derive(Debug)]
pub(super) struct Route {
    /// The sender's own `Arc`, so that it is recognised by its pointer.
    pub(super) topic: Arc<str>,
    pub(super) partitions: Vec<PartitionId>,
    message_bytes_max: usize,
    timestamp_before_max_ms: i64,
    timestamp_after_max_ms: i64,
    is_compacted: bool,
    /// By partition number.
    pub(super) pending: Vec<Chunk>,
    /// The last partition that got a record without a key.
    turn: usize,
}

impl Route {
    pub(super) fn new(name: &Arc<str>, topic: &TopicState) -> Self {
        Self {
            topic: name.clone(),
            partitions: topic.partitions.clone(),
            message_bytes_max: topic.config.message_bytes_max as usize,
            timestamp_before_max_ms: topic.config.timestamp_before_max_ms,
            timestamp_after_max_ms: topic.config.timestamp_after_max_ms,
            is_compacted: topic.config.compact,
            pending: topic.partitions.iter().map(|_| Chunk::default()).collect(),
            turn: 0,
        }
    }

    /// Chooses the partition's number.
    pub(super) fn choose(&mut self, record: &Outgoing<'_>) -> Result<usize> {
        let count = self.partitions.len();
        match (record.partition, record.key) {
            (Some(number), _) => {
                let index = usize::try_from(number).ok().filter(|index| *index < count);
                let name = || TopicPartition::new(self.topic.clone(), number);
                index.ok_or_else(|| no_partition("send to", &name()))
            }
            (None, Some(key)) => Ok(partition_for(key, count as i32) as usize),
            (None, None) => {
                self.turn = (self.turn + 1) % count;
                Ok(self.turn)
            }
        }
    }

    /// Refuses what Kafka's broker would refuse for this topic. `wall` returns the date.
    pub(super) fn check(
        &self,
        record: &Outgoing<'_>,
        wall: impl FnOnce() -> Timestamp,
    ) -> Result<()> {
        let context = || match record.partition {
            Some(partition) => format!("send to {}-{partition}", self.topic),
            None => format!("send to {}", self.topic),
        };
        let bytes = record_bytes(record.key, record.value, record.headers);
        if bytes > self.message_bytes_max {
            let max = self.message_bytes_max;
            let why =
                format!("the record has {bytes} bytes; max.message.bytes of this topic is {max}");
            return Err(refused(context(), why));
        }
        if self.is_compacted && record.key.is_none() {
            return Err(refused(
                context(),
                "the record has no key, and the topic is compacted by key",
            ));
        }
        let Outgoing { timestamp, .. } = *record;
        if timestamp < -1 {
            return Err(refused(context(), format!("timestamp {timestamp} is negative")));
        }
        let before = self.timestamp_before_max_ms;
        let after = self.timestamp_after_max_ms;
        if timestamp == -1 || (before == i64::MAX && after == i64::MAX) {
            return Ok(());
        }
        let wall = wall();
        let first = wall.saturating_sub(before);
        let last = wall.saturating_add(after);
        if (first..=last).contains(&timestamp) {
            return Ok(());
        }
        let why =
            format!("timestamp {timestamp} is not from {first} to {last}, which this topic takes");
        Err(refused(context(), why))
    }
}

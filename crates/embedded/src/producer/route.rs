//! The way from a producer to a topic.

use std::sync::Arc;

use runtime::transport::{Outgoing, Result};
use streams_core::{TopicPartition, partition_for};

use crate::chunk::{Chunk, NewRecord};
use crate::error::{no_partition, refused};
use crate::partition::PartitionId;
use crate::topic::Topic;

/// What the producer needs to know of a topic, and what waits to be sent to it.
#[derive(Debug)]
pub(super) struct Route {
    /// The sender's own `Arc`, so that it is recognised without comparing text.
    pub(super) topic: Arc<str>,
    pub(super) partitions: Vec<PartitionId>,
    message_bytes_max: usize,
    is_compacted: bool,
    /// By partition number.
    pub(super) pending: Vec<Chunk>,
    /// Where the next record without a key goes.
    turn: usize,
}

impl Route {
    pub(super) fn new(name: &Arc<str>, topic: &Topic) -> Self {
        Self {
            topic: name.clone(),
            partitions: topic.partitions.clone(),
            message_bytes_max: topic.config.message_bytes_max as usize,
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

    /// Refuses what the topic does not take.
    pub(super) fn check(&self, record: &NewRecord<'_>) -> Result<()> {
        let context = || format!("send to {}", self.topic);
        if record.len() > self.message_bytes_max {
            let (len, max) = (record.len(), self.message_bytes_max);
            let why = format!("a record of {len} bytes; max.message.bytes of this topic is {max}");
            return Err(refused(context(), why));
        }
        if self.is_compacted && record.key.is_none() {
            return Err(refused(
                context(),
                "a record without a key, and the topic is compacted by key",
            ));
        }
        if record.timestamp < -1 {
            return Err(refused(context(), format!("timestamp {} is negative", record.timestamp)));
        }
        Ok(())
    }
}

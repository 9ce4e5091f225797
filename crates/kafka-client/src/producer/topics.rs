//! Which partition a record goes to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::accumulator::{Accumulator, QueueId};
use crate::partition::PartitionId;
use crate::partitioner::partition_of_key;
use crate::record::ProducerRecord;

/// Topics that were looked up, with the queues of their partitions.
#[derive(Default)]
pub(super) struct TopicQueues {
    known: Vec<TopicQueueList>,
    by_name: HashMap<Arc<str>, usize>,
    /// The latest names, by their addresses: callers keep theirs.
    recent: [Option<(Arc<str>, usize)>; RECENT],
    tracked: BTreeMap<PartitionId, Option<QueueId>>,
}

struct TopicQueueList {
    /// By partition.
    queues: Vec<QueueId>,
    /// Where records without keys go until its batch is full.
    spread: usize,
}

const RECENT: usize = 16;

impl TopicQueues {
    pub(super) fn find(&mut self, name: &Arc<str>) -> Option<usize> {
        // Names are apart by at least the size of their counters.
        let id = (Arc::as_ptr(name).cast::<u8>() as usize >> 5) % RECENT;
        if let Some((recent, number)) = &self.recent[id]
            && Arc::ptr_eq(recent, name)
        {
            return Some(*number);
        }
        let number = *self.by_name.get(name)?;
        self.recent[id] = Some((Arc::clone(name), number));
        Some(number)
    }

    /// Adds a topic, or what it has grown by; `queues` are all of its queues.
    pub(super) fn insert(&mut self, name: &Arc<str>, queues: Vec<QueueId>) -> usize {
        for (partition, queue) in (0..).zip(&queues) {
            let id = PartitionId { topic: Arc::clone(name), partition };
            if let Some(tracked) = self.tracked.get_mut(&id) {
                *tracked = Some(*queue);
            }
        }
        if let Some(number) = self.by_name.get(name) {
            self.known[*number].queues = queues;
            return *number;
        }
        self.known.push(TopicQueueList { queues, spread: 0 });
        self.by_name.insert(Arc::clone(name), self.known.len() - 1);
        self.known.len() - 1
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn queues(&self, number: usize) -> &[QueueId] {
        &self.known[number].queues
    }

    /// The queue of a record; `None` if there is no such partition.
    pub(super) fn queue(
        &mut self,
        number: usize,
        record: &ProducerRecord<'_>,
        accumulator: &Accumulator,
    ) -> Option<QueueId> {
        let topic = &mut self.known[number];
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => usize::try_from(partition).ok()?,
            (None, Some(key)) => partition_of_key(key, topic.queues.len() as i32) as usize,
            (None, None) => {
                // A batch for each in turn: few large ones instead of many small ones.
                let current = topic.queues.get(topic.spread);
                if current.is_none_or(|queue| accumulator.is_between_batches(*queue)) {
                    topic.spread = (topic.spread + 1) % topic.queues.len().max(1);
                }
                topic.spread
            }
        };
        topic.queues.get(partition).copied()
    }

    pub(super) fn track(&mut self, id: &PartitionId) {
        if !self.tracked.contains_key(id) {
            let number = self.by_name.get(&id.topic);
            let partition = usize::try_from(id.partition).ok();
            let queue = number
                .zip(partition)
                .and_then(|(number, partition)| self.known[*number].queues.get(partition).copied());
            self.tracked.insert(id.clone(), queue);
        }
    }

    pub(super) fn tracked(&self, id: &PartitionId) -> Option<QueueId> {
        *self.tracked.get(id)?
    }
}

//! Which lane a record belongs to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use runtime::transport::Outgoing;
use streams_core::{TopicPartition, partition_for};

use super::outbox::{LaneId, Outbox};

/// Topics that were looked up, with their lanes.
#[derive(Default)]
pub(super) struct Topics {
    known: Vec<KnownTopic>,
    by_name: HashMap<Arc<str>, usize>,
    /// The latest names, by their addresses: sinks keep theirs.
    recent: [Option<(Arc<str>, usize)>; RECENT],
    tracked: BTreeMap<TopicPartition, Option<LaneId>>,
}

struct KnownTopic {
    /// By partition.
    lanes: Vec<LaneId>,
    /// Where records without keys go until its batch is full.
    spread: usize,
}

const RECENT: usize = 16;

impl Topics {
    pub(super) fn find(&mut self, name: &Arc<str>) -> Option<usize> {
        // Names are apart by at least the size of their counters.
        let place = (Arc::as_ptr(name).cast::<u8>() as usize >> 5) % RECENT;
        if let Some((recent, number)) = &self.recent[place]
            && Arc::ptr_eq(recent, name)
        {
            return Some(*number);
        }
        let number = *self.by_name.get(name)?;
        self.recent[place] = Some((Arc::clone(name), number));
        Some(number)
    }

    /// Adds a topic, or what it has grown by; `lanes` are all of its lanes.
    pub(super) fn insert(&mut self, name: &Arc<str>, lanes: Vec<LaneId>) -> usize {
        for (partition, lane) in (0..).zip(&lanes) {
            let place = TopicPartition { topic: Arc::clone(name), partition };
            if let Some(tracked) = self.tracked.get_mut(&place) {
                *tracked = Some(*lane);
            }
        }
        if let Some(number) = self.by_name.get(name) {
            self.known[*number].lanes = lanes;
            return *number;
        }
        self.known.push(KnownTopic { lanes, spread: 0 });
        self.by_name.insert(Arc::clone(name), self.known.len() - 1);
        self.known.len() - 1
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn lanes(&self, number: usize) -> &[LaneId] {
        &self.known[number].lanes
    }

    /// The lane of a record; `None` if there is no such partition.
    pub(super) fn lane(
        &mut self,
        number: usize,
        record: &Outgoing<'_>,
        outbox: &Outbox,
    ) -> Option<LaneId> {
        let topic = &mut self.known[number];
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => usize::try_from(partition).ok()?,
            (None, Some(key)) => partition_for(key, topic.lanes.len() as i32) as usize,
            (None, None) => {
                // A batch for each in turn: few large ones instead of many small ones.
                if topic.lanes.get(topic.spread).is_none_or(|lane| outbox.is_between_batches(*lane))
                {
                    topic.spread = (topic.spread + 1) % topic.lanes.len().max(1);
                }
                topic.spread
            }
        };
        topic.lanes.get(partition).copied()
    }

    pub(super) fn track(&mut self, place: &TopicPartition) {
        if !self.tracked.contains_key(place) {
            let number = self.by_name.get(&place.topic);
            let partition = usize::try_from(place.partition).ok();
            let lane = number
                .zip(partition)
                .and_then(|(number, partition)| self.known[*number].lanes.get(partition).copied());
            self.tracked.insert(place.clone(), lane);
        }
    }

    pub(super) fn tracked(&self, place: &TopicPartition) -> Option<LaneId> {
        *self.tracked.get(place)?
    }
}

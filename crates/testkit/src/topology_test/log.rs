//! The log of a topology test: topics of records in memory, and committed offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use streams_core::{OwnedRecord, PartitionCount, Resume, Topology, partition_for};

pub(super) struct TestLog {
    topics: BTreeMap<Arc<str>, Vec<Vec<OwnedRecord>>>,
    /// All records of a topic in the order of arrival, across partitions.
    arrived: BTreeMap<Arc<str>, Vec<OwnedRecord>>,
    offsets: BTreeMap<(Arc<str>, i32), (i64, String)>,
}

impl TestLog {
    pub(super) fn new(topology: &Topology, partitions: &[(&str, i32)]) -> Self {
        let mut log =
            Self { topics: BTreeMap::new(), arrived: BTreeMap::new(), offsets: BTreeMap::new() };
        for (topic, count) in partitions {
            log.create(&Arc::from(*topic), *count);
        }
        // Repartition topics first: a changelog has as many partitions as the topics that feed its
        // table.
        for _ in topology.internal_topics() {
            for topic in topology.internal_topics() {
                let count = match &topic.partitions {
                    PartitionCount::Exactly(count) => *count,
                    PartitionCount::LikeSources(sub) => log.width(topology, *sub, &topic.name),
                    PartitionCount::MaxOf(subs) => {
                        let widths = subs.iter().map(|sub| log.width(topology, *sub, &topic.name));
                        widths.max().unwrap_or(1)
                    }
                };
                log.create(&topic.name, count);
            }
        }
        log
    }

    fn width(&self, topology: &Topology, sub: usize, except: &str) -> i32 {
        let sources = topology.sub_topologies()[sub].sources().iter();
        let others = sources.filter(|source| &*source.topic != except);
        others.map(|source| self.partitions(&source.topic)).max().unwrap_or(1)
    }

    fn create(&mut self, topic: &Arc<str>, partitions: i32) {
        let width = partitions.max(1) as usize;
        self.topics.insert(Arc::clone(topic), vec![Vec::new(); width]);
    }

    pub(super) fn partitions(&self, topic: &str) -> i32 {
        self.topics.get(topic).map_or(1, Vec::len) as i32
    }

    /// Appends a record to the given partition, or to the one for its key.
    pub(super) fn append(&mut self, topic: &str, partition: Option<i32>, mut record: OwnedRecord) {
        let topic: Arc<str> = topic.into();
        let partitions = self.topics.entry(Arc::clone(&topic)).or_insert_with(|| vec![Vec::new()]);
        let by_key =
            || record.key.as_ref().map_or(0, |key| partition_for(key, partitions.len() as i32));
        let place = partition.unwrap_or_else(by_key) as usize;
        let records = &mut partitions[place];
        record.offset = records.len() as i64;
        records.push(record.clone());
        self.arrived.entry(topic).or_default().push(record);
    }

    /// The records of a partition from `offset` on.
    pub(super) fn from(&self, topic: &str, partition: i32, offset: i64) -> Vec<OwnedRecord> {
        let partition = self.topics.get(topic).and_then(|all| all.get(partition as usize));
        partition.and_then(|records| records.get(offset as usize..)).unwrap_or_default().to_vec()
    }

    pub(super) fn all(&self, topic: &str) -> &[OwnedRecord] {
        self.arrived.get(topic).map_or(&[], Vec::as_slice)
    }

    pub(super) fn commit(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        offset: i64,
        metadata: String,
    ) {
        self.offsets.insert((Arc::clone(topic), partition), (offset, metadata));
    }

    pub(super) fn committed(&self, topic: &Arc<str>, partition: i32) -> Resume {
        match self.offsets.get(&(Arc::clone(topic), partition)) {
            Some((offset, metadata)) => {
                Resume { offset: *offset, metadata: metadata.clone(), committed: true }
            }
            None => Resume { offset: 0, metadata: String::new(), committed: false },
        }
    }
}

//! The transport's producer over our own client.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::{
    ConsumerGroupMetadata, KafkaCluster, OffsetToCommit, ProducerRecord, ProducerSettings,
    RecordHeaders, TransactionalProducer,
};
use runtime::transport::{GroupMetadata, OffsetCommit, Outgoing, Producer, Result};
use streams_core::{Headers, TopicPartition};

use super::convert::{error, id};

pub(crate) struct OwnProducer(TransactionalProducer);

/// Headers of the core, as the client reads them.
struct BorrowedHeaders<'a>(&'a Headers);

impl RecordHeaders for BorrowedHeaders<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn visit(&self, visit: &mut dyn FnMut(&str, Option<&[u8]>)) {
        self.0.iter().for_each(|(name, value)| visit(name, value));
    }
}

impl OwnProducer {
    pub(crate) fn new(cluster: Arc<KafkaCluster>, settings: ProducerSettings) -> Self {
        Self(TransactionalProducer::new(cluster, settings))
    }
}

impl Producer for OwnProducer {
    fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        self.0.limit_batches(topic, bytes_max);
    }

    fn init(&mut self, timeout: Duration) -> Result<()> {
        self.0.init(timeout).map_err(error)
    }

    fn begin(&mut self) -> Result<()> {
        self.0.begin().map_err(error)
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        let headers = record.headers.map(BorrowedHeaders);
        let record = ProducerRecord {
            topic: record.topic,
            partition: record.partition,
            key: record.key,
            value: record.value,
            timestamp: record.timestamp,
            headers: headers.as_ref().map(|headers| headers as &dyn RecordHeaders),
        };
        self.0.send(&record).map_err(error)
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.0.flush(timeout).map_err(error)
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        let offsets: Vec<_> = offsets.iter().map(borrowed).collect();
        let group = ConsumerGroupMetadata {
            group_id: &group.group_id,
            generation: group.generation,
            member_id: &group.member_id,
            group_instance_id: group.instance_id.as_deref(),
        };
        self.0.send_offsets(&offsets, &group, timeout).map_err(error)
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        self.0.commit(timeout).map_err(error)
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.0.abort(timeout).map_err(error)
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.0.track(&id(partition));
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.last_offset(&id(partition))
    }

    fn in_flight_bytes(&self) -> usize {
        self.0.in_flight_bytes()
    }
}

fn borrowed(commit: &OffsetCommit) -> OffsetToCommit<'_> {
    OffsetToCommit {
        topic: &commit.partition.topic,
        partition: commit.partition.partition,
        offset: commit.offset,
        metadata: &commit.metadata,
    }
}

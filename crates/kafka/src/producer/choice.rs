//! Which producer carries the transactions: decided when a producer is made, by what the cluster
//! says at that time.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::{KafkaClusters, ProducerSettings};
use runtime::Transactions;
use runtime::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, ProducerConfig, Result,
    TransportError,
};
use streams_core::TopicPartition;

use super::LibrdkafkaProducer;
use crate::client::{self, OwnProducer};
use crate::config::KafkaConfig;

/// A transactional producer that is chosen when it is initialized.
pub(crate) struct Choice {
    kafka: Arc<KafkaConfig>,
    clusters: KafkaClusters,
    config: ProducerConfig,
    /// How large a batch topics take.
    limits: Vec<(Arc<str>, usize)>,
    chosen: Option<Box<dyn Producer>>,
}

impl Choice {
    pub(crate) fn new(
        kafka: Arc<KafkaConfig>,
        clusters: KafkaClusters,
        config: ProducerConfig,
    ) -> Self {
        Self { kafka, clusters, config, limits: Vec::new(), chosen: None }
    }

    fn choose(&self, timeout: Duration) -> Result<Box<dyn Producer>> {
        let settings = ProducerSettings::new(
            self.kafka.brokers(),
            self.kafka.producer_properties(),
            self.config.transactional_id.as_deref().unwrap_or_default(),
            self.config.transaction_timeout,
            self.config.buffer_bytes_max,
        );
        let settings = match settings {
            Ok(settings) => settings,
            Err(why) => return self.librdkafka(&why.to_string()),
        };
        let cluster = self.clusters.get(settings.connection());
        if cluster.transaction_version(timeout).map_err(client::error)? < 2 {
            return self.librdkafka("the cluster's transaction.version is below 2");
        }
        tracing::debug!(target: "headwater::kafka", "our own client carries transactions: KIP-890");
        Ok(Box::new(OwnProducer::new(cluster, settings)))
    }

    fn librdkafka(&self, why: &str) -> Result<Box<dyn Producer>> {
        if self.kafka.transactions() == Transactions::V2 {
            let context = "transactions by the second protocol";
            return Err(TransportError::new(ErrorKind::Refused, context, why));
        }
        tracing::info!(
            target: "headwater::kafka", why,
            "librdkafka carries transactions, by the protocol before KIP-890: after a time-out a \
             producer is replaced"
        );
        Ok(Box::new(LibrdkafkaProducer::new(&self.kafka, &self.config)?))
    }

    fn chosen(&mut self) -> Result<&mut dyn Producer> {
        match &mut self.chosen {
            Some(producer) => Ok(&mut **producer),
            None => Err(TransportError::new(ErrorKind::Fatal, "the producer", "not initialized")),
        }
    }
}

impl Producer for Choice {
    fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        match &mut self.chosen {
            Some(producer) => producer.limit_batches(topic, bytes_max),
            None => self.limits.push((Arc::clone(topic), bytes_max)),
        }
    }

    fn init(&mut self, timeout: Duration) -> Result<()> {
        let mut producer = self.choose(timeout)?;
        for (topic, bytes_max) in &self.limits {
            producer.limit_batches(topic, *bytes_max);
        }
        producer.init(timeout)?;
        self.chosen = Some(producer);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.chosen()?.begin()
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.chosen()?.send(record)
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.chosen()?.flush(timeout)
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        self.chosen()?.send_offsets(offsets, group, timeout)
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        self.chosen()?.commit(timeout)
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.chosen()?.abort(timeout)
    }

    fn track(&mut self, partition: &TopicPartition) {
        if let Some(producer) = &mut self.chosen {
            producer.track(partition);
        }
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.chosen.as_ref()?.last_offset(partition)
    }

    fn in_flight_bytes(&self) -> usize {
        self.chosen.as_ref().map_or(0, |producer| producer.in_flight_bytes())
    }
}

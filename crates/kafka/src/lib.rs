//! Apache Kafka as Headwater's transport, through librdkafka: the only crate that links it; and,
//! for transactions on brokers 4.0 and later, through a small client of our own.
//!
//! librdkafka fetches and is the group member (classic protocol, `cooperative-sticky`); partitions
//! of several topics are kept together by the runtime's lead topics. `unsafe` is where the C
//! interface has no safe wrapper: partition queues, batches of borrowed messages, `producev` and
//! group metadata; each block says why it is sound.

mod admin;
mod batch;
mod config;
mod consumer;
mod error;
mod fetcher;
mod group;
mod headers;
mod member;
mod producer;
mod queue;
mod reader;
mod wire;

use std::fmt;
use std::sync::Arc;

use runtime::Transactions;
use runtime::transport::{
    Admin, Member, MemberConfig, Producer, ProducerConfig, Reader, ReaderConfig, Result, Transport,
};

pub use config::{KafkaConfig, PropertyError};

/// Kafka as a transport. Cheap to make: clients connect when they are used.
#[derive(Clone)]
pub struct KafkaTransport {
    config: Arc<KafkaConfig>,
    clusters: producer::v2::Clusters,
}

impl KafkaTransport {
    /// A transport to the cluster that `config` names.
    pub fn new(config: KafkaConfig) -> Self {
        Self { config: Arc::new(config), clusters: producer::v2::Clusters::default() }
    }
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaTransport({})", self.config.brokers())
    }
}

impl Transport for KafkaTransport {
    fn admin(&self) -> Result<Box<dyn Admin>> {
        Ok(Box::new(admin::KafkaAdmin::new(&self.config)?))
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>> {
        Ok(Box::new(member::KafkaMember::join(&self.config, config)?))
    }

    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>> {
        if config.transactional_id.is_some() && self.config.transactions() != Transactions::V1 {
            let (kafka, clusters) = (Arc::clone(&self.config), self.clusters.clone());
            return Ok(Box::new(producer::Choice::new(kafka, clusters, config.clone())));
        }
        Ok(Box::new(producer::LibrdkafkaProducer::new(&self.config, config)?))
    }

    fn reader(&self, config: &ReaderConfig) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::KafkaReader::new(&self.config, config)?))
    }
}

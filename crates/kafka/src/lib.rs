//! Apache Kafka as Headwater's transport: the only crate that links librdkafka.
//!
//! Our own client, `headwater-kafka-client`, fetches, and carries transactions on brokers 4.0 and
//! later. librdkafka is the group's member, and does the rest where our client does not know the
//! user's properties.
//!
//! The membership is of the classic protocol, `cooperative-sticky`; partitions of several topics
//! are kept together by the runtime's lead topics. `unsafe` is where the C
//! interface has no safe wrapper: partition queues, batches of borrowed messages, `producev` and
//! group metadata; each block says why it is sound.

mod absence;
mod admin;
mod client;
mod config;
mod consumer;
mod error;
mod group;
mod headers;
mod librdkafka;
mod member;
mod oauth;
mod producer;

use std::fmt;
use std::sync::Arc;

use runtime::Transactions;
use runtime::transport::{
    Admin, Member, MemberConfig, Producer, ProducerConfig, Reader, ReaderConfig, RecordBytesMax,
    Result, Transport,
};

use kafka_client::{ConnectionSettings, FetchSettings, KafkaCluster, KafkaClusters};

pub use config::{KafkaConfig, PropertyError};
pub use kafka_client::{OauthError, OauthToken, OauthTokenProvider};

/// Kafka as a transport. Cheap to make: clients connect when they are used.
#[derive(Clone)]
pub struct KafkaTransport {
    config: Arc<KafkaConfig>,
    clusters: KafkaClusters,
}

impl KafkaTransport {
    /// A transport to the cluster that `config` names.
    pub fn new(config: KafkaConfig) -> Self {
        Self { config: Arc::new(config), clusters: KafkaClusters::default() }
    }
}

impl KafkaTransport {
    /// What our own client needs to fetch; `None` if a property is librdkafka's alone.
    fn own_fetching(&self, read_committed: bool) -> Option<(Arc<KafkaCluster>, FetchSettings)> {
        let properties = self.config.consumer_properties();
        match FetchSettings::new(self.config.brokers(), properties, read_committed) {
            Ok(settings) => {
                tracing::debug!(target: "headwater::kafka", "our own client fetches");
                Some((self.clusters.get(settings.connection()), settings))
            }
            Err(why) => {
                tracing::info!(
                    target: "headwater::kafka", %why,
                    "librdkafka fetches: at about twice the processor time, and its buffers are \
                     not part of the memory budget"
                );
                None
            }
        }
    }
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaTransport({})", self.config.brokers())
    }
}

impl Transport for KafkaTransport {
    fn admin(&self) -> Result<Box<dyn Admin>> {
        let own = ConnectionSettings::new(self.config.brokers(), self.config.admin_properties());
        let own = own.ok().map(|settings| self.clusters.get(&settings));
        Ok(Box::new(admin::KafkaAdmin::new(&self.config, own)?))
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>> {
        let own = self.own_fetching(config.read_committed);
        Ok(Box::new(member::KafkaMember::join(&self.config, config, own)?))
    }

    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>> {
        if config.transactional_id.is_some() && self.config.transactions() != Transactions::V1 {
            let (kafka, clusters) = (Arc::clone(&self.config), self.clusters.clone());
            return Ok(Box::new(producer::Choice::new(kafka, clusters, config.clone())));
        }
        Ok(Box::new(producer::LibrdkafkaProducer::new(&self.config, config)?))
    }

    fn record_bytes_max(&self) -> Option<RecordBytesMax> {
        let setting = "message.max.bytes among the Kafka properties";
        self.config.record_bytes_max().map(|bytes| RecordBytesMax { bytes, setting })
    }

    fn reader(&self, config: &ReaderConfig) -> Result<Box<dyn Reader>> {
        match self.own_fetching(config.read_committed) {
            Some((cluster, settings)) => {
                let bytes_max = config.fetch_bytes_max;
                Ok(Box::new(client::OwnReader::new(cluster, settings, bytes_max)?))
            }
            None => Ok(Box::new(librdkafka::KafkaReader::new(&self.config, config)?)),
        }
    }
}

//! A synchronous client for Apache Kafka in Rust, made for stream processors: it fetches, and it
//! carries transactions by the protocol of KIP-890. It is usable without the rest of Headwater.
//!
//! Records are borrowed: those that are fetched stay in the memory that they were decompressed to,
//! and those that are sent are encoded straight into batches.
//!
//! | module | what it is |
//! |---|---|
//! | `cluster` | brokers, and the connections to them |
//! | `connection` | a connection to one broker |
//! | `error` | errors, by what has to be done about them |
//! | `fetch` | fetching from the leaders of partitions |
//! | `partitioner` | where records with a key go |
//! | `producer` | transactions |
//! | `protocol` | what all requests share |
//! | `records` | batches of records, as they are stored and sent |
//! | `requests` | the requests, one file for each |
//! | `settings` | what the user sets |

#![deny(unsafe_code)]

mod cluster;
mod connection;
mod error;
mod fetch;
mod partition;
mod partitioner;
mod producer;
mod protocol;
mod record;
mod records;
mod requests;
mod settings;
mod thread;

pub use cluster::{KafkaCluster, KafkaClusters};
pub use error::{ErrorClass, KafkaClientError};
pub use fetch::{ClientFetcher, FetchedBatch, MemoryShare, PartitionProgress, PartitionReader};
pub use partition::PartitionId;
pub use partitioner::partition_of_key;
pub use producer::{ConsumerGroupMetadata, OffsetToCommit, TransactionalProducer};
pub use record::{FetchedRecord, ProducerRecord, RecordHeaders};
pub use settings::{
    ConnectionSettings, FetchSettings, OauthError, OauthToken, OauthTokenProvider,
    ProducerSettings, Properties, UnsupportedProperty,
};

/// What every call here returns.
pub type Result<T> = std::result::Result<T, KafkaClientError>;

//! The requests of Kafka's protocol that this client sends, one file for each.
//!
//! Each file has the request in every version that this client speaks; a connection takes the
//! latest one that its broker speaks too.

mod api_versions;
mod end_txn;
#[cfg(test)]
mod every_version;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;
mod txn_offset_commit;

pub(crate) use api_versions::{ApiVersions, BrokerFeatures};
pub(crate) use end_txn::EndTxn;
pub(crate) use fetch::{FetchPartition, FetchPartitionData, FetchRequest};
pub(crate) use find_coordinator::{CoordinatorType, FindCoordinator};
pub(crate) use init_producer_id::{InitProducerId, ProducerIdAndEpoch};
pub(crate) use list_offsets::{ListOffsets, OffsetSpec};
pub(crate) use metadata::{Leader, MetadataRequest, MetadataTopic};
pub(crate) use produce::{ProducePartition, ProducePartitionResponse, ProduceRequest};
pub(crate) use sasl_authenticate::sasl_authenticate;
pub(crate) use sasl_handshake::sasl_handshake;
pub(crate) use txn_offset_commit::{TopicOffsets, TxnOffsetCommit};

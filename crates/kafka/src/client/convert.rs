//! Names of partitions, and errors.

use std::sync::Arc;

use kafka_client::{ErrorClass, KafkaClientError, PartitionId};
use runtime::transport::{ErrorKind, TransportError};
use streams_core::TopicPartition;

pub(super) fn id(partition: &TopicPartition) -> PartitionId {
    PartitionId { topic: Arc::clone(&partition.topic), partition: partition.partition }
}

pub(super) fn partition_of(id: &PartitionId) -> TopicPartition {
    TopicPartition { topic: Arc::clone(&id.topic), partition: id.partition }
}

pub(crate) fn error(error: KafkaClientError) -> TransportError {
    let (class, context, cause) = error.into_parts();
    let kind = match class {
        ErrorClass::Retriable => ErrorKind::Retriable,
        ErrorClass::Abortable => ErrorKind::Abortable,
        ErrorClass::Fenced => ErrorKind::Fenced,
        ErrorClass::NotFound => ErrorKind::NotFound,
        ErrorClass::Refused => ErrorKind::Refused,
        ErrorClass::Fatal => ErrorKind::Fatal,
        // The safe one for those that may be added.
        _ => ErrorKind::Unknown,
    };
    TransportError::new(kind, context, cause)
}

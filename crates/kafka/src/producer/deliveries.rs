//! What librdkafka reports of records that were sent.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use crate::consumer::log;

/// What delivery reports say.
#[derive(Default)]
pub(super) struct Deliveries {
    failed: Mutex<Option<(String, RDKafkaErrorCode)>>,
    /// Last acknowledged offsets of tracked partitions, by number.
    pub(super) offsets: Mutex<Vec<Arc<AtomicI64>>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(target: "headwater::kafka", %error, reason, "producer");
    }
}

impl ProducerContext for Deliveries {
    /// The number of a tracked partition, plus one; 0 for others.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tracked: usize) {
        match result {
            Ok(message) => {
                if let Some(number) = tracked.checked_sub(1) {
                    let offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(offset) = offsets.get(number) {
                        offset.fetch_max(message.offset(), Ordering::AcqRel);
                    }
                }
            }
            Err((error, message)) => self.note(message, error),
        }
    }
}

impl Deliveries {
    fn note(&self, message: &BorrowedMessage<'_>, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        // A purge is our own doing.
        if matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert_with(|| {
            let (topic, partition) = (message.topic(), message.partition());
            let bytes =
                message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len);
            (format!("delivery of {bytes} bytes to {topic}-{partition}"), code)
        });
    }

    pub(super) fn take_failure(&self) -> Option<(String, RDKafkaErrorCode)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

//! What came of the records that were handed over.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use confluent_kafka::common::Error;
use confluent_kafka::producer::{Callback, RecordMetadata};
use runtime::transport::{Result, TransportError};

use super::error;

/// Where records are sent to: a partition, or any of a topic.
pub(super) struct Target {
    topic: Arc<str>,
    /// The offset of the last acknowledged record; −1 before the first.
    offset: AtomicI64,
    failures: Failures,
}

/// The first failed delivery that nobody asked about yet. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Failures(Arc<Mutex<Option<TransportError>>>);

/// Told when its record is acknowledged or given up.
pub(super) struct Delivery(Arc<Target>);

impl Target {
    pub(super) fn new(topic: &Arc<str>, failures: &Failures) -> Arc<Self> {
        let (topic, failures) = (Arc::clone(topic), failures.clone());
        Arc::new(Self { topic, offset: AtomicI64::new(-1), failures })
    }

    pub(super) fn delivery(self: &Arc<Self>) -> Box<dyn Callback> {
        Box::new(Delivery(Arc::clone(self)))
    }

    pub(super) fn last_offset(&self) -> Option<i64> {
        let offset = self.offset.load(Ordering::Acquire);
        (offset >= 0).then_some(offset)
    }
}

impl Failures {
    pub(super) fn take(&self) -> Result<()> {
        let failure = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    fn note(&self, topic: &str, partition: Option<i32>, error: &Error) {
        let partition = partition.filter(|partition| *partition >= 0);
        let partition = partition.map(|partition| format!("-{partition}")).unwrap_or_default();
        let failure = error::delivery(&format!("delivery to {topic}{partition}"), error);
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
    }
}

impl Callback for Delivery {
    fn on_completion(self: Box<Self>, metadata: Option<&RecordMetadata>, error: Option<&Error>) {
        let Target { topic, offset, failures } = &*self.0;
        match (metadata, error) {
            // An abort is our own doing.
            (_, Some(error)) if error.is_transaction_aborted_error() => {}
            (metadata, Some(error)) => {
                failures.note(topic, metadata.map(RecordMetadata::partition), error);
            }
            (Some(metadata), None) if metadata.has_offset() => {
                offset.fetch_max(metadata.offset(), Ordering::AcqRel);
            }
            (_, None) => {}
        }
    }
}

//! The limits of the topics of a topology test.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use streams_core::{RecordLimits, TopicLimits};

/// Kafka's defaults, unless the test changes them.
#[derive(Default)]
pub(super) struct TestTopicLimits(Mutex<BTreeMap<String, usize>>);

impl TestTopicLimits {
    pub(super) fn set(&self, topic: &str, bytes_max: usize) {
        self.sizes().insert(topic.to_owned(), bytes_max);
    }

    fn sizes(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TopicLimits for TestTopicLimits {
    fn of(&self, topic: &str) -> Option<RecordLimits> {
        let defaults = RecordLimits::default();
        let bytes_max = self.sizes().get(topic).copied().unwrap_or(defaults.bytes_max);
        Some(RecordLimits { bytes_max, ..defaults })
    }
}

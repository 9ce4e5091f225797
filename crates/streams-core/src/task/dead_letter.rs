//! What the error policy does with a record that failed.

use std::sync::Arc;

use super::Task;
use crate::effect::Effect;
use crate::error::{Cause, RecordError, TaskError};
use crate::policy::ErrorPolicy;
use crate::record::{Headers, OwnedRecord};

impl Task {
    /// Applies the source's error policy to a record whose effects were taken back already. An
    /// error is for the policy to fail; otherwise the record counts as done.
    pub(super) fn apply_policy(
        &mut self,
        input: usize,
        record: &OwnedRecord,
        cause: Cause,
    ) -> Result<RecordError, TaskError> {
        let topology = Arc::clone(&self.topology);
        let source = &topology.sub_topologies[self.id.sub_topology].sources[input];
        let error = RecordError {
            topic: Arc::clone(&source.topic),
            partition: self.id.partition,
            offset: record.offset,
            cause,
        };
        match &source.policy {
            ErrorPolicy::Fail => return Err(TaskError::Record { task: self.id, error }),
            ErrorPolicy::Skip => self.cx_mut().metrics.skipped += 1,
            ErrorPolicy::DeadLetter(topic) => {
                self.send_dead_letter(topic, record, &error);
                self.cx_mut().metrics.dead_lettered += 1;
            }
        }
        Ok(error)
    }

    fn send_dead_letter(&mut self, topic: &Arc<str>, record: &OwnedRecord, error: &RecordError) {
        let mut headers = Headers::new();
        for (name, value) in record.headers.iter() {
            headers.push(name, value);
        }
        headers.push("headwater.topic", Some(error.topic.as_bytes()));
        headers.push("headwater.partition", Some(error.partition.to_string().as_bytes()));
        headers.push("headwater.offset", Some(error.offset.to_string().as_bytes()));
        headers.push("headwater.error", Some(error.cause.to_string().as_bytes()));
        self.cx_mut().effects.push(Effect {
            topic,
            partition: None,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            // The producer takes no negative timestamp; 0 is as good as the unknown.
            timestamp: record.timestamp.max(0),
            headers: Some(&headers),
        });
    }
}

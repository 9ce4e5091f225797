//! What the error policy does with a record that failed.

use std::error::Error;
use std::sync::Arc;

use super::Task;
use super::retries::OPERATORS;
use crate::effect::Effect;
use crate::error::{Cause, RecordError, TaskError};
use crate::limits::Outbound;
use crate::policy::ErrorPolicy;
use crate::record::{Headers, OwnedRecord, Timestamp};

/// What the headers of Kafka Streams' dead letters (KIP-1034) begin with. Those of an earlier round
/// are replaced.
const PREFIX: &str = "__streams.errors.";
const EXCEPTION: &str = "__streams.errors.exception";
const MESSAGE: &str = "__streams.errors.message";
const STACKTRACE: &str = "__streams.errors.stacktrace";
const TOPIC: &str = "__streams.errors.topic";
const PARTITION: &str = "__streams.errors.partition";
const OFFSET: &str = "__streams.errors.offset";
/// The record's own timestamp, where the dead-letter topic does not take it.
const TIMESTAMP: &str = "headwater.timestamp";
/// How often a record was tried, where it is tried again.
const ATTEMPTS: &str = "headwater.attempts";

/// How many bytes of an error's text a dead letter carries.
const MESSAGE_MAX: usize = 1 << 10;
/// How many bytes of the causes behind it.
const STACKTRACE_MAX: usize = 4 << 10;

/// How much a dead letter says about its error: less, where the topic would not take the record
/// with more.
const DETAILS: [Detail; 4] = [
    Detail { place: true, message: MESSAGE_MAX, stacktrace: STACKTRACE_MAX },
    Detail { place: true, message: 128, stacktrace: 0 },
    Detail { place: true, message: 0, stacktrace: 0 },
    Detail { place: false, message: 0, stacktrace: 0 },
];

struct Detail {
    /// Topic, partition and offset.
    place: bool,
    message: usize,
    stacktrace: usize,
}

impl Task {
    /// Applies the source's error policy to a record that failed in the operators, and whose
    /// effects were taken back already. An error is for the policy to fail; otherwise the record
    /// counts as done.
    pub(super) fn apply_policy(
        &mut self,
        input: usize,
        record: &OwnedRecord,
        cause: Cause,
    ) -> Result<RecordError, TaskError> {
        let topology = Arc::clone(&self.topology);
        match &topology.sub_topologies[self.id.sub_topology].sources[input].policy {
            ErrorPolicy::Retry(retry) => self.wait_or_end(input, OPERATORS, record, cause, retry),
            policy => self.end(input, record, cause, policy),
        }
    }

    /// Applies a policy that does not try the record again.
    pub(super) fn end(
        &mut self,
        input: usize,
        record: &OwnedRecord,
        cause: Cause,
        policy: &ErrorPolicy,
    ) -> Result<RecordError, TaskError> {
        let mut error = self.error(input, record.offset, cause);
        match policy {
            // `build()` refuses retries behind retries.
            ErrorPolicy::Fail | ErrorPolicy::Retry(_) => {
                return Err(TaskError::Record { task: self.id, error: error.into() });
            }
            ErrorPolicy::Skip => self.cx_mut().metrics.skipped += 1,
            ErrorPolicy::DeadLetter(topic) => {
                if let Err(refused) = self.send_dead_letter(topic, record, &error) {
                    let cause = Box::new(error.cause);
                    let refused = Box::new(refused);
                    error.cause = Cause::NoDeadLetter { cause, refused };
                    return Err(TaskError::Record { task: self.id, error: error.into() });
                }
                self.cx_mut().metrics.dead_lettered += 1;
            }
        }
        Ok(error)
    }

    /// What was wrong with the record at an offset, with its place.
    pub(super) fn error(&self, input: usize, offset: i64, cause: Cause) -> RecordError {
        let topic = Arc::clone(&self.source(input).topic);
        RecordError { topic, partition: self.id.partition, offset, cause }
    }

    /// Sends the record's bytes with what is known of the error, as far as `topic` takes that.
    fn send_dead_letter(
        &mut self,
        topic: &Arc<str>,
        record: &OwnedRecord,
        error: &RecordError,
    ) -> Result<(), Cause> {
        let cx = self.cx_mut();
        let limits = cx.effects.limits(topic, &*cx.limits);
        let (first, last) = limits.times(cx.now);
        let timestamp = record.timestamp.min(last).max(first);
        let mut result = Ok(());
        for detail in &DETAILS {
            let headers = headers(record, timestamp, error, detail);
            let outbound = Outbound {
                target: topic,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: Some(&headers),
                timestamp,
            };
            result = limits.check(&outbound, cx.now);
            match &result {
                Ok(()) => {
                    let Outbound { key, value, headers, .. } = outbound;
                    cx.effects.push(Effect {
                        topic,
                        partition: None,
                        key,
                        value,
                        timestamp,
                        headers,
                    });
                    return Ok(());
                }
                // Without so many headers it may fit.
                Err(Cause::TooLarge { .. }) => {}
                Err(_) => return result,
            }
        }
        result
    }
}

/// The record's own headers, then those that say what was wrong.
fn headers(
    record: &OwnedRecord,
    timestamp: Timestamp,
    error: &RecordError,
    detail: &Detail,
) -> Headers {
    let mut headers = Headers::new();
    let is_own = |name: &str| !name.starts_with(PREFIX) && name != ATTEMPTS;
    let own = record.headers.iter().filter(|(name, _)| is_own(name));
    own.for_each(|(name, value)| headers.push(name, value));
    if !detail.place {
        return headers;
    }
    // −1 is no time of its own.
    if timestamp != record.timestamp.max(0) && headers.last(TIMESTAMP).is_none() {
        headers.push(TIMESTAMP, Some(record.timestamp.to_string().as_bytes()));
    }
    if let Cause::Retried { attempt, .. } = &error.cause {
        headers.push(ATTEMPTS, Some(attempt.to_string().as_bytes()));
    }
    headers.push(EXCEPTION, Some(error.cause.name().as_bytes()));
    if detail.message > 0 {
        let message = error.cause.to_string();
        headers.push(MESSAGE, Some(shortened(message, detail.message).as_bytes()));
    }
    if detail.stacktrace > 0 {
        let causes = shortened(causes(&error.cause), detail.stacktrace);
        headers.push(STACKTRACE, Some(causes.as_bytes()));
    }
    headers.push(TOPIC, Some(error.topic.as_bytes()));
    headers.push(PARTITION, Some(error.partition.to_string().as_bytes()));
    headers.push(OFFSET, Some(error.offset.to_string().as_bytes()));
    headers
}

/// An error with what caused it, a line each: Rust's errors carry no stack.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause.filter(|_| text.len() <= STACKTRACE_MAX) {
        text.push_str("\nCaused by: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// At most so many bytes of a text; that it was cut shows.
fn shortened(mut text: String, bytes_max: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= bytes_max {
        return text;
    }
    let mut length = bytes_max - CUT.len();
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text.truncate(length);
    text.push_str(CUT);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened("short".to_owned(), 5), "short");
        for bytes_max in 3..12 {
            let cut = shortened("äöüäöüäöü".to_owned(), bytes_max);
            assert!(cut.len() <= bytes_max && cut.ends_with('…'), "{cut}");
        }
    }
}

//! What the error policy does with a failed record.

use std::error::Error;
use std::sync::Arc;

use super::Task;
use super::retries::OPERATORS;
use crate::effect::Effect;
use crate::error::{Cause, RecordError, TaskError};
use crate::limits::Outbound;
use crate::policy::ErrorPolicy;
use crate::record::{Headers, OwnedRecord, Timestamp};

/// The prefix of the headers of Kafka Streams' dead letters (KIP-1034). Those of an earlier failure
/// are replaced.
const PREFIX: &str = "__streams.errors.";
const EXCEPTION: &str = "__streams.errors.exception";
const MESSAGE: &str = "__streams.errors.message";
const STACKTRACE: &str = "__streams.errors.stacktrace";
const TOPIC: &str = "__streams.errors.topic";
const PARTITION: &str = "__streams.errors.partition";
const OFFSET: &str = "__streams.errors.offset";
/// The record's own timestamp, if the dead-letter topic does not accept it.
const TIMESTAMP: &str = "headwater.timestamp";
/// The number of attempts, if the record was retried.
const ATTEMPTS: &str = "headwater.attempts";

/// The most bytes of an error's text in a dead letter.
const MESSAGE_MAX: usize = 1 << 10;
/// The most bytes of its chain of causes.
const STACKTRACE_MAX: usize = 4 << 10;

/// How much a dead letter says about its error: less, if the topic would not accept the record with
/// more.
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
    /// Applies the source's error policy to a record that failed in the operators, after its
    /// effects were undone. It returns an error if the policy is to fail; otherwise the record
    /// counts as processed.
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

    /// Applies a policy without retries.
    pub(super) fn end(
        &mut self,
        input: usize,
        record: &OwnedRecord,
        cause: Cause,
        policy: &ErrorPolicy,
    ) -> Result<RecordError, TaskError> {
        let mut error = self.error(input, record.offset, cause);
        match policy {
            // `build()` refuses a retry after a retry.
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

    /// Creates the error of the record at an offset.
    pub(super) fn error(&self, input: usize, offset: i64, cause: Cause) -> RecordError {
        let topic = Arc::clone(&self.source(input).topic);
        RecordError { topic, partition: self.id.partition, offset, cause }
    }

    /// Sends the record's bytes with as much about the error as `topic` accepts.
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
                // It may fit with fewer headers.
                Err(Cause::TooLarge { .. }) => {}
                Err(_) => return result,
            }
        }
        result
    }
}

/// The record's own headers, then those that describe the error.
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
    // −1 means that the record has no timestamp.
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

/// An error and its chain of causes, one per line. Rust's errors have no stack trace.
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

/// Cuts a text to this many bytes, and marks the cut.
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

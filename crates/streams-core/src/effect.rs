//! Effects as data: what a task asks the worker to send.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Cause;
use crate::limits::{OVERHEAD_MAX, Outbound, RecordLimits, TopicLimits};
use crate::record::{Headers, Timestamp};

/// Records to send, in order, in one buffer that is reused for each batch.
///
/// The worker drains it completely into the open transaction before it steps a task again.
#[derive(Debug, Default)]
pub struct Effects {
    bytes: Vec<u8>,
    produced: Vec<Produced>,
    headers: Vec<Headers>,
    topics: Vec<SinkTopic>,
}

/// A topic that records were sent to.
#[derive(Debug)]
struct SinkTopic {
    name: Arc<str>,
    /// What it accepts, once that is known.
    limits: Option<RecordLimits>,
    quick: Quick,
}

/// Limits that certainly hold, to be compared with each record.
#[derive(Clone, Copy, Debug, Default)]
struct Quick {
    /// The size of key and value together.
    bytes_max: usize,
    /// The last accepted timestamp, which only becomes later. All timestamps from 0 up to it are
    /// accepted.
    last: Timestamp,
    needs_key: bool,
}

impl Quick {
    fn new(limits: &RecordLimits, now: Timestamp) -> Self {
        // The first accepted timestamp also becomes later, so nothing is certain.
        if limits.before_max_ms != i64::MAX {
            return Self::default();
        }
        let bytes_max = limits.bytes_max.saturating_sub(OVERHEAD_MAX);
        Self { bytes_max, last: limits.times(now).1, needs_key: limits.needs_key }
    }
}

#[derive(Debug)]
struct Produced {
    topic: u32,
    partition: Option<i32>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    timestamp: Timestamp,
    headers: Option<u32>,
}

/// One record to send, borrowed from [`Effects`].
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The partition; `None` selects it by key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp, not negative.
    pub timestamp: Timestamp,
    /// The headers, if there are any.
    pub headers: Option<&'a Headers>,
}

/// A position in [`Effects`], to return to if a record fails half-way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    bytes: usize,
    produced: usize,
    headers: usize,
}

impl Mark {
    /// The number of records at that position.
    pub(crate) fn records(self) -> usize {
        self.produced
    }
}

impl Effects {
    /// Creates an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.produced.is_empty()
    }

    /// The number of records to send.
    pub fn len(&self) -> usize {
        self.produced.len()
    }

    /// The size of all keys and values in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Removes the records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.produced.clear();
        self.headers.clear();
    }

    /// The records in the order of sending.
    pub fn iter(&self) -> impl Iterator<Item = Effect<'_>> {
        self.produced.iter().map(|produced| Effect {
            topic: &self.topics[produced.topic as usize].name,
            partition: produced.partition,
            key: self.slice(produced.key.as_ref()),
            value: self.slice(produced.value.as_ref()),
            timestamp: produced.timestamp,
            headers: produced.headers.map(|index| &self.headers[index as usize]),
        })
    }

    /// Returns what `topic` accepts.
    pub(crate) fn limits(&mut self, topic: &Arc<str>, of: &dyn TopicLimits) -> RecordLimits {
        let index = self.topic_index(topic);
        self.topics[index as usize].limits(of)
    }

    /// Checks whether the topic of the last record would accept it at the time `now`.
    #[cold]
    pub(crate) fn check_last(&mut self, now: Timestamp, of: &dyn TopicLimits) -> Result<(), Cause> {
        let Some(last) = self.produced.last() else { return Ok(()) };
        let slice = |range: &Option<Range<usize>>| range.clone().map(|range| &self.bytes[range]);
        let known = &mut self.topics[last.topic as usize];
        let limits = known.limits(of);
        known.quick = known.limits.map_or_else(Quick::default, |limits| Quick::new(&limits, now));
        let record = Outbound {
            target: &known.name,
            key: slice(&last.key),
            value: slice(&last.value),
            headers: last.headers.map(|index| &self.headers[index as usize]),
            timestamp: last.timestamp,
        };
        limits.check(&record, now)
    }

    /// Removes the last record.
    pub(crate) fn take_back_last(&mut self) {
        let Some(Produced { key, value, headers, .. }) = self.produced.pop() else { return };
        if let Some(first) = key.or(value) {
            self.bytes.truncate(first.start);
        }
        if let Some(headers) = headers {
            self.headers.truncate(headers as usize);
        }
    }

    /// Whether the last record has a null key.
    pub(crate) fn last_key_is_null(&self) -> bool {
        self.produced.last().is_some_and(|produced| produced.key.is_none())
    }

    fn slice(&self, range: Option<&Range<usize>>) -> Option<&[u8]> {
        range.map(|range| &self.bytes[range.clone()])
    }

    /// Appends a record whose key and value are written by `key` and `value`, which return `false`
    /// for null. If one of them fails, nothing is appended. Returns whether the topic certainly
    /// accepts the record; if not, [`check_last`](Self::check_last) decides.
    #[inline]
    pub(crate) fn produce<E>(
        &mut self,
        to: Destination<'_>,
        key: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
        value: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let start = self.bytes.len();
        let write = |bytes: &mut Vec<u8>| {
            let key = written(bytes, key)?;
            Ok((key, written(bytes, value)?))
        };
        let (key, value) = match write(&mut self.bytes) {
            Ok(ranges) => ranges,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        let topic = self.topic_index(to.topic);
        let headers = (!to.headers.is_empty()).then(|| {
            self.headers.push(to.headers.clone());
            (self.headers.len() - 1) as u32
        });
        let partition = to.partition;
        let timestamp = to.timestamp;
        let Quick { bytes_max, last, needs_key } = self.topics[topic as usize].quick;
        let is_taken = self.bytes.len() - start <= bytes_max
            && headers.is_none()
            && (0..=last).contains(&timestamp)
            && (key.is_some() || !needs_key);
        self.produced.push(Produced { topic, partition, key, value, timestamp, headers });
        Ok(is_taken)
    }

    /// Returns the topic's index. Topics are few and the last one is likely used again, so a search
    /// from the end is quick.
    fn topic_index(&mut self, topic: &Arc<str>) -> u32 {
        let known = self.topics.iter().position(|known| Arc::ptr_eq(&known.name, topic));
        let index = known.or_else(|| self.topics.iter().position(|known| known.name == *topic));
        index.unwrap_or_else(|| {
            let name = Arc::clone(topic);
            let quick = Quick::default();
            self.topics.push(SinkTopic { name, limits: None, quick });
            self.topics.len() - 1
        }) as u32
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), produced: self.produced.len(), headers: self.headers.len() }
    }

    /// Removes what was appended since `mark` and returns it.
    pub(crate) fn split_off(&mut self, mark: Mark) -> Self {
        let mut behind = Self::new();
        self.iter().skip(mark.produced).for_each(|effect| behind.push(effect));
        self.truncate(mark);
        behind
    }

    /// Appends all records of `others`, which is empty afterwards.
    pub(crate) fn append(&mut self, others: &mut Self) {
        others.iter().for_each(|effect| self.push(effect));
        others.clear();
    }

    /// Appends a record that is already in bytes.
    pub(crate) fn push(&mut self, effect: Effect<'_>) {
        let Effect { topic, partition, key, value, timestamp, headers } = effect;
        let none = Headers::new();
        let headers = headers.unwrap_or(&none);
        let write = |from: Option<&[u8]>, out: &mut Vec<u8>| {
            out.extend_from_slice(from.unwrap_or_default());
            Ok(from.is_some())
        };
        let pushed: Result<bool, std::convert::Infallible> = self.produce(
            Destination { topic, partition, timestamp, headers },
            |out| write(key, out),
            |out| write(value, out),
        );
        let Ok(_) = pushed;
    }

    pub(crate) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.produced.truncate(mark.produced);
        self.headers.truncate(mark.headers);
    }
}

impl SinkTopic {
    fn limits(&mut self, of: &dyn TopicLimits) -> RecordLimits {
        self.limits = self.limits.or_else(|| of.of(&self.name));
        self.limits.unwrap_or_default()
    }
}

fn written<E>(
    bytes: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
) -> Result<Option<Range<usize>>, E> {
    let start = bytes.len();
    Ok(write(bytes)?.then_some(start..bytes.len()))
}

/// Where a record goes, and what it has besides key and value.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: &'a Headers,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produce(effects: &mut Effects, topic: &Arc<str>, value: Option<&[u8]>) {
        let to = Destination { topic, partition: None, timestamp: 1, headers: &Headers::new() };
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(value.unwrap_or_default());
            Ok::<_, ()>(value.is_some())
        };
        effects.produce(to, |_| Ok(false), write).expect("writes");
    }

    #[test]
    fn order_and_null_values_are_preserved() {
        let mut effects = Effects::new();
        let topic = Arc::from("t");
        produce(&mut effects, &topic, Some(b"one"));
        produce(&mut effects, &topic, Some(b""));
        produce(&mut effects, &topic, None);
        let values: Vec<_> = effects.iter().map(|effect| effect.value).collect();
        assert_eq!(values, [Some(&b"one"[..]), Some(b""), None]);
        assert!(effects.iter().all(|effect| effect.key.is_none()));
    }

    #[test]
    fn records_that_are_split_off_and_appended_again_are_unchanged() {
        let mut effects = Effects::new();
        let topics = [Arc::from("t"), Arc::from("u")];
        produce(&mut effects, &topics[0], Some(b"sent before"));
        let mark = effects.mark();
        produce(&mut effects, &topics[1], Some(b"one"));
        produce(&mut effects, &topics[0], None);
        let mut held = effects.split_off(mark);
        assert_eq!((effects.len(), effects.bytes(), held.len()), (1, 11, 2));
        effects.clear();
        produce(&mut effects, &topics[0], Some(b""));
        effects.append(&mut held);
        let all: Vec<_> = effects.iter().map(|effect| (&**effect.topic, effect.value)).collect();
        assert_eq!(all, [("t", Some(&b""[..])), ("u", Some(b"one")), ("t", None)]);
        assert!(held.is_empty());
    }

    #[test]
    fn the_last_record_can_be_removed() {
        let mut effects = Effects::new();
        let topic = Arc::from("t");
        let mut headers = Headers::new();
        headers.push("h", None);
        for value in [Some(&b"one"[..]), None] {
            produce(&mut effects, &topic, Some(b"before"));
            let key = None;
            let headers = Some(&headers);
            effects.push(Effect {
                topic: &topic,
                partition: None,
                key,
                value,
                timestamp: 1,
                headers,
            });
            effects.take_back_last();
        }
        assert_eq!((effects.len(), effects.bytes(), effects.headers.len()), (2, 12, 0));
    }

    #[test]
    fn a_failed_write_appends_nothing() {
        let mut effects = Effects::new();
        let topic = Arc::from("t");
        let to =
            Destination { topic: &topic, partition: None, timestamp: 1, headers: &Headers::new() };
        let key = |out: &mut Vec<u8>| {
            out.push(1);
            Ok(true)
        };
        assert!(effects.produce(to, key, |_| Err("no")).is_err());
        assert!(effects.is_empty() && effects.bytes() == 0);
    }
}

//! A source's end of a chain: bytes become a typed record, decoded once.

use crate::consumed::Extractor;
use crate::error::{Cause, Failure};
use crate::receive::Receive;
use crate::record::{RawRecord, Record, Timestamp};
use crate::task_context::TaskContext;
use crate::topic::Topic;

use super::ReceiveRaw;

/// 9999-12-31T23:59:59.999Z. A later timestamp is not in milliseconds.
pub(crate) const TIMESTAMP_MAX: Timestamp = 253_402_300_799_999;

pub(crate) struct Decode<K, V, R> {
    pub(crate) topic: Topic<K, V>,
    pub(crate) timestamps: Option<Extractor<K, V>>,
    pub(crate) next: R,
}

impl<K: 'static, V: 'static, R: Receive<K, V>> ReceiveRaw for Decode<K, V, R> {
    fn receive(&self, raw: &RawRecord<'_>, cx: &mut TaskContext) -> Result<(), Failure> {
        let mut record = decode(&self.topic, raw)?;
        if let Some(extract) = &self.timestamps {
            record.timestamp = extract(&record);
        }
        check_timestamp(record.timestamp, cx)?;
        self.next.receive(record, cx)
    }

    fn event_time(&self, raw: &RawRecord<'_>) -> Option<Timestamp> {
        event_time(&self.topic, self.timestamps.as_ref(), raw)
    }

    fn extracts_times(&self) -> bool {
        self.timestamps.is_some()
    }
}

/// The time that an extractor finds in a record; `None` without an extractor, or if the record
/// cannot be decoded.
pub(crate) fn event_time<K: 'static, V: 'static>(
    topic: &Topic<K, V>,
    timestamps: Option<&Extractor<K, V>>,
    raw: &RawRecord<'_>,
) -> Option<Timestamp> {
    let extract = timestamps?;
    decode(topic, raw).ok().map(|record| extract(&record))
}

/// Decodes the typed record in `raw`.
pub(crate) fn decode<K: 'static, V: 'static>(
    topic: &Topic<K, V>,
    raw: &RawRecord<'_>,
) -> Result<Record<K, V>, Cause> {
    let key = topic.key.decode(raw.key).map_err(Cause::DecodeKey)?;
    let value = topic.value.decode(raw.value).map_err(Cause::DecodeValue)?;
    Ok(Record { key, value, timestamp: raw.timestamp })
}

/// Whether [`check_timestamp`] accepts it.
pub(crate) fn is_acceptable(
    timestamp: Timestamp,
    now: Timestamp,
    max_ahead_ms: Option<i64>,
) -> bool {
    let is_too_far = max_ahead_ms.is_some_and(|max_ms| timestamp.saturating_sub(now) > max_ms);
    (0..=TIMESTAMP_MAX).contains(&timestamp) && !is_too_far
}

pub(crate) fn check_timestamp(timestamp: Timestamp, cx: &TaskContext) -> Result<(), Cause> {
    if timestamp < 0 {
        return Err(Cause::NegativeTimestamp(timestamp));
    }
    let ahead_ms = timestamp.saturating_sub(cx.now);
    let too_far = cx.max_ahead_ms.filter(|max_ms| ahead_ms > *max_ms);
    if too_far.is_none() && timestamp <= TIMESTAMP_MAX {
        return Ok(());
    }
    let max_ms = too_far.unwrap_or(TIMESTAMP_MAX - cx.now);
    Err(Cause::FutureTimestamp { timestamp, ahead_ms, max_ms })
}

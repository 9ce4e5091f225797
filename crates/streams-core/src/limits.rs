//! What a topic accepts, and how Kafka measures the size of a record.

use crate::error::Cause;
use crate::record::{Headers, Timestamp};

/// Kafka's default for `max.message.bytes`: a mebibyte, and twelve bytes for what precedes a batch.
pub const MAX_MESSAGE_BYTES: i32 = 1_048_588;

/// The space for metadata beside an offset; Kafka allows 4,096 bytes by default.
pub(crate) const METADATA_MAX: usize = 4_000;

/// The size of a batch header in format 2.
const BATCH_HEADER: usize = 61;
/// The most that a record without headers takes beside its key and value: three lengths of at most
/// five bytes, the attributes, two deltas to the batch's first record (this record, so they are 0),
/// and the number of headers.
pub(crate) const OVERHEAD_MAX: usize = BATCH_HEADER + 3 * 5 + 4;

/// Returns the size of a record as Kafka measures it: an uncompressed batch of format 2 with this
/// record alone. A broker compares `max.message.bytes` with the batch after the client has
/// compressed it, which is at most as large.
pub fn record_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: Option<&Headers>) -> usize {
    let record = 3 + sized(key) + sized(value) + header_bytes(headers);
    BATCH_HEADER + varint(record) + record
}

/// The size of the headers and their count.
fn header_bytes(headers: Option<&Headers>) -> usize {
    let Some(headers) = headers else { return 1 };
    let each = headers.iter().map(|(name, value)| sized(Some(name.as_bytes())) + sized(value));
    varint(headers.len()) + each.sum::<usize>()
}

/// The size of bytes with their length prefix; null has the length −1.
fn sized(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint(bytes.len()) + bytes.len())
}

/// The size of a length as a signed variable-length number.
fn varint(length: usize) -> usize {
    let bits = usize::BITS - (length << 1 | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// What a topic, and the client that writes to it, accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// The maximum size of a record, measured by [`record_bytes`].
    pub bytes_max: usize,
    /// The setting that limits the size, named in errors so that the reader can change it.
    pub bytes_setting: &'static str,
    /// How many milliseconds before the wall clock a timestamp may be.
    pub before_max_ms: i64,
    /// How many milliseconds after the wall clock it may be.
    pub after_max_ms: i64,
    /// Whether a record needs a key: the topic is compacted.
    pub needs_key: bool,
}

impl RecordLimits {
    /// The setting of a topic that limits the size of its records.
    pub const OF_TOPIC: &str = "max.message.bytes of the topic";
}

impl Default for RecordLimits {
    /// Returns Kafka's default size, any timestamp, with and without a key.
    fn default() -> Self {
        Self {
            bytes_max: MAX_MESSAGE_BYTES as usize,
            bytes_setting: Self::OF_TOPIC,
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX,
            needs_key: false,
        }
    }
}

impl RecordLimits {
    /// The first and last timestamp that are accepted at the time `now`. Kafka's clients refuse
    /// negative timestamps.
    pub(crate) fn times(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        (now.saturating_sub(self.before_max_ms).max(0), now.saturating_add(self.after_max_ms))
    }

    /// Checks whether the record's topic would accept it at the time `now`.
    pub(crate) fn check(&self, record: &Outbound<'_>, now: Timestamp) -> Result<(), Cause> {
        let target = || record.target.into();
        if self.needs_key && record.key.is_none() {
            return Err(Cause::NullKey { target: target() });
        }
        let timestamp = record.timestamp;
        let (first, last) = self.times(now);
        if !(first..=last).contains(&timestamp) {
            return Err(Cause::RefusedTimestamp { target: target(), timestamp, first, last });
        }
        let bytes = record_bytes(record.key, record.value, record.headers);
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let bytes_max = self.bytes_max;
        let setting = self.bytes_setting;
        let key = shown(record.key);
        Err(Cause::TooLarge { target: target(), key, bytes, bytes_max, setting })
    }
}

/// A record on its way to a topic, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Outbound<'a> {
    pub(crate) target: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Option<&'a Headers>,
    pub(crate) timestamp: Timestamp,
}

/// How much of a key an error shows.
const KEY_SHOWN: usize = 64;

/// Formats a key for an error.
pub(crate) fn shown(key: Option<&[u8]>) -> String {
    let Some(key) = key else { return "null".to_owned() };
    let (begin, cut) = match key.get(..KEY_SHOWN) {
        Some(begin) => (begin, if key.len() > KEY_SHOWN { "…" } else { "" }),
        None => (key, ""),
    };
    format!("\"{}{cut}\"", begin.escape_ascii())
}

/// What the topics that an application writes to accept.
///
/// It is called once per topic, when the first record for that topic appears.
pub trait TopicLimits: Send + Sync {
    /// Returns what `topic` accepts, or `None` if that is not known yet. In that case it is called
    /// again for the next record, and this record may be as large as Kafka's default.
    fn of(&self, topic: &str) -> Option<RecordLimits>;
}

/// Kafka's defaults for all topics.
pub(crate) struct DefaultLimits;

impl TopicLimits for DefaultLimits {
    fn of(&self, _: &str) -> Option<RecordLimits> {
        Some(RecordLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_that_kafka_writes() {
        // 61, the record's length, attributes and differences, key and value with their lengths,
        // no headers.
        assert_eq!(record_bytes(None, None, None), 61 + 1 + 3 + 1 + 1 + 1);
        assert_eq!(record_bytes(Some(b"k"), Some(&[0; 63]), None), 61 + 2 + 3 + 2 + 64 + 1);
        assert_eq!(record_bytes(Some(b"k"), Some(&[0; 64]), None), 61 + 2 + 3 + 2 + 66 + 1);
        let mut headers = Headers::new();
        headers.push("name", Some(b"value"));
        headers.push("none", None);
        let of_headers = 1 + 5 + 6 + 5 + 1;
        assert_eq!(record_bytes(None, None, Some(&headers)), 61 + 1 + 3 + 1 + 1 + of_headers);
    }

    #[test]
    fn the_quick_check_never_accepts_what_the_exact_one_refuses() {
        for length in [0, 1, 63, 64, 8_191, 8_192, 1 << 20, (1 << 20) + 1, 5 << 20] {
            let value = vec![0; length];
            assert!(record_bytes(None, Some(&value), None) <= length + OVERHEAD_MAX);
            assert!(record_bytes(Some(&value), Some(&value), None) <= 2 * length + OVERHEAD_MAX);
        }
    }

    #[test]
    fn keys_are_shown_as_text_and_cut() {
        assert_eq!(shown(None), "null");
        assert_eq!(shown(Some(b"user-1\n")), "\"user-1\\n\"");
        assert_eq!(shown(Some(&[b'x'; 65])), format!("\"{}…\"", "x".repeat(64)));
    }
}

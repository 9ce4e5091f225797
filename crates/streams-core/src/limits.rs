//! What a topic takes, and how large a record is to it.

use crate::error::Cause;
use crate::record::{Headers, Timestamp};

/// Kafka's default for `max.message.bytes`: a mebibyte, and twelve bytes for what precedes a batch.
pub const MAX_MESSAGE_BYTES: i32 = 1_048_588;

/// What fits beside an offset, of the 4,096 bytes that Kafka allows by default.
pub(crate) const METADATA_MAX: usize = 4_000;

/// A batch of format 2 before its records.
const BATCH_HEADER: usize = 61;
/// What a record without headers has at most beside key and value: three lengths of at most five
/// bytes, attributes, the two differences to the batch's first record, which is itself, and the
/// number of headers.
pub(crate) const OVERHEAD_MAX: usize = BATCH_HEADER + 3 * 5 + 4;

/// How large a record is to Kafka: the bytes of a batch of format 2 that has this record alone, not
/// compressed. That is what a broker compares with `max.message.bytes`, but that it does so after
/// the client has compressed the batch, which makes it smaller or leaves it.
pub fn record_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: Option<&Headers>) -> usize {
    let record = 3 + sized(key) + sized(value) + header_bytes(headers);
    BATCH_HEADER + varint(record) + record
}

/// The headers of a record with their number.
fn header_bytes(headers: Option<&Headers>) -> usize {
    let Some(headers) = headers else { return 1 };
    let each = headers.iter().map(|(name, value)| sized(Some(name.as_bytes())) + sized(value));
    varint(headers.len()) + each.sum::<usize>()
}

/// Bytes with their length before them; null has the length −1.
fn sized(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint(bytes.len()) + bytes.len())
}

/// The bytes of a length as a signed number of variable length.
fn varint(length: usize) -> usize {
    let bits = usize::BITS - (length << 1 | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// What a topic, and the client that writes to it, take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// How large a record may be by [`record_bytes`].
    pub bytes_max: usize,
    /// Which setting says that, for whoever has to change it.
    pub bytes_setting: &'static str,
    /// How many milliseconds a timestamp may lie before the wall clock.
    pub before_max_ms: i64,
    /// How many milliseconds it may lie after the wall clock.
    pub after_max_ms: i64,
    /// Whether a record needs a key: the topic is compacted.
    pub needs_key: bool,
}

impl RecordLimits {
    /// The setting of a topic that bounds its records' size.
    pub const OF_TOPIC: &str = "max.message.bytes of the topic";
}

impl Default for RecordLimits {
    /// Kafka's default size, any time, with and without a key.
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
    /// The first and the last timestamp that are taken at the time `now`. Kafka's clients refuse
    /// negative ones.
    pub(crate) fn times(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        (now.saturating_sub(self.before_max_ms).max(0), now.saturating_add(self.after_max_ms))
    }

    /// What is wrong with a record, if its topic would not take it at the time `now`.
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

/// A record that is to go to a topic, in bytes.
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

/// A key as an error shows it.
pub(crate) fn shown(key: Option<&[u8]>) -> String {
    let Some(key) = key else { return "null".to_owned() };
    let (begin, cut) = match key.get(..KEY_SHOWN) {
        Some(begin) => (begin, if key.len() > KEY_SHOWN { "…" } else { "" }),
        None => (key, ""),
    };
    format!("\"{}{cut}\"", begin.escape_ascii())
}

/// What the topics take that an application writes to.
///
/// It is asked once for each topic, by whoever first has a record for it.
pub trait TopicLimits: Send + Sync {
    /// What `topic` takes; `None` if that is not known now. Then it is asked again for the next
    /// record, and this one may be as large as Kafka's default.
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
    fn the_quick_look_never_takes_what_the_close_one_refuses() {
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

//! Windowed keys in Kafka Streams' bytes.

use std::sync::Arc;

use super::{Naming, Windowed, Windows};
use crate::codec::{Codec, CodecError, Natural, present};
use crate::record::Timestamp;

/// A windowed key as Kafka Streams' time-windowed serializer writes it: the key, then the window's
/// start as eight big-endian bytes. The end is not written. It follows from the size, or from the
/// [`Windows`] if each window has its own size.
pub struct TimeWindowed<K> {
    key: Arc<dyn Codec<K>>,
    ends: Ends,
}

/// The largest start. All lengths of windows are far below it, so their sums with such a time do
/// not overflow.
const START_MAX: Timestamp = Timestamp::MAX / 8;

/// Where the window with a given start ends.
struct Ends(Box<dyn Fn(Timestamp) -> Timestamp + Send + Sync>);

impl Ends {
    fn of(windows: impl Windows) -> Self {
        Self(Box::new(move |start| windows.starting_at(start).end))
    }

    /// The end of a window that begins at `start`, if such a window can exist. No record is older
    /// than time 0, or so late that adding a length would overflow. Other bytes, read as a windowed
    /// key, rarely pass this check.
    fn end(&self, start: Timestamp) -> Result<Timestamp, CodecError> {
        let end = (0..=START_MAX).contains(&start).then(|| (self.0)(start));
        end.filter(|end| start <= *end).ok_or_else(|| {
            CodecError::new(format!("no window begins at {start}, so this is not a windowed key"))
        })
    }
}

impl<K: Natural> TimeWindowed<K> {
    /// Creates a codec for these windows, with the key's natural bytes. It is not for sessions,
    /// whose start does not determine their end.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater::windows::Tumbling;
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(60));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<_, u64>::with("counts", TimeWindowed::<String>::of(windows), Text);
    /// let app = Builder::new("example");
    /// app.stream(&numbers).group_by_key().window(windows).count(&Table::new("seen")).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&numbers, Record::new("a".into(), 7, 61_000))?;
    /// assert_eq!(test.take(&counts)?[0].0.end, 120_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(windows: impl Windows) -> Self {
        Self { key: K::codec(), ends: Ends::of(windows) }
    }
}

impl<K: 'static> TimeWindowed<K> {
    /// Creates a codec for these windows, with a codec for the key.
    pub fn with(windows: impl Windows, key: impl Codec<K>) -> Self {
        Self { key: Arc::new(key), ends: Ends::of(windows) }
    }
}

impl<K: 'static> Codec<Windowed<K>> for TimeWindowed<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        self.ends.end(value.start)?;
        if !self.key.encode(&value.key, out)? {
            return Err(CodecError::null());
        }
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, CodecError> {
        let bytes = present(bytes)?;
        let (key, start) = bytes.split_last_chunk::<8>().ok_or_else(|| {
            CodecError::new(format!("{} bytes are too short for a window", bytes.len()))
        })?;
        let start = i64::from_be_bytes(*start);
        let end = self.ends.end(start)?;
        Ok(Windowed { key: self.key.decode(Some(key))?, start, end })
    }
}

/// A session's key as Kafka Streams' session-windowed serializer writes it: the key, then the
/// session's end and its start as eight big-endian bytes each.
pub struct SessionWindowed<K>(Arc<dyn Codec<K>>);

impl<K: Natural> SessionWindowed<K> {
    /// Creates a codec with the key's natural bytes.
    pub fn new() -> Self {
        Self(K::codec())
    }
}

impl<K: Natural> Default for SessionWindowed<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: 'static> SessionWindowed<K> {
    /// Creates a codec with a codec for the key.
    pub fn with(key: impl Codec<K>) -> Self {
        Self(Arc::new(key))
    }
}

impl<K: 'static> Codec<Windowed<K>> for SessionWindowed<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        in_order(value.start, value.end)?;
        if !self.0.encode(&value.key, out)? {
            return Err(CodecError::null());
        }
        out.extend_from_slice(&value.end.to_be_bytes());
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, CodecError> {
        let bytes = present(bytes)?;
        let split = bytes.split_last_chunk::<8>().and_then(|(rest, start)| {
            rest.split_last_chunk::<8>().map(|(key, end)| (key, *end, *start))
        });
        let (key, end, start) = split.ok_or_else(|| {
            CodecError::new(format!("{} bytes are too short for a session", bytes.len()))
        })?;
        let start = i64::from_be_bytes(start);
        let end = i64::from_be_bytes(end);
        in_order(start, end)?;
        Ok(Windowed { key: self.0.decode(Some(key))?, start, end })
    }
}

fn in_order(start: Timestamp, end: Timestamp) -> Result<(), CodecError> {
    if 0 <= start && start <= end {
        return Ok(());
    }
    Err(CodecError::new(format!(
        "no session lasts from {start} to {end}, so this is not a windowed key"
    )))
}

/// The codec of the keys of a windowed table.
pub(crate) fn window_key<K: 'static>(
    key: &Arc<dyn Codec<K>>,
    windows: &(impl Windows + Clone),
) -> Arc<dyn Codec<Windowed<K>>> {
    let key = Arc::clone(key);
    match windows.naming() {
        Naming::EndAndStart => Arc::new(SessionWindowed(key)),
        _ => Arc::new(TimeWindowed { key, ends: Ends::of(windows.clone()) }),
    }
}

/// The keys of a windowed table's changelog, in Kafka Streams' bytes: for windows named by their
/// start, that is [`TimeWindowed`] and a sequence number of four bytes; for sessions
/// [`SessionWindowed`].
pub(crate) struct ChangelogKey<K> {
    pub(crate) window_key: Arc<dyn Codec<Windowed<K>>>,
    pub(crate) has_sequence: bool,
}

impl<K: 'static> Codec<Windowed<K>> for ChangelogKey<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let present = self.window_key.encode(value, out)?;
        out.extend_from_slice(if self.has_sequence { &[0; 4] } else { &[] });
        Ok(present)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, CodecError> {
        let bytes = present(bytes)?;
        let length = bytes.len().checked_sub(if self.has_sequence { 4 } else { 0 });
        let windowed = length.and_then(|length| bytes.get(..length));
        let short = || CodecError::new(format!("{} bytes are too short for a window", bytes.len()));
        self.window_key.decode(Some(windowed.ok_or_else(short)?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::window::Tumbling;

    #[test]
    fn key_then_big_endian_start() {
        let codec = TimeWindowed::<String>::of(Tumbling::of(Duration::from_secs(1)));
        let windowed = Windowed { key: "k".to_owned(), start: 258, end: 1258 };
        let mut bytes = Vec::new();
        codec.encode(&windowed, &mut bytes).expect("encodes");
        assert_eq!(bytes, [b'k', 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(codec.decode(Some(&bytes)).expect("decodes"), windowed);
    }

    #[test]
    fn ordinary_keys_are_refused_without_a_panic() {
        let time = TimeWindowed::<Vec<u8>>::of(Tumbling::of(Duration::from_secs(1)));
        let session = SessionWindowed::<Vec<u8>>::new();
        let key = [0xff; 24];
        assert!(time.decode(Some(&key)).is_err() && session.decode(Some(&key)).is_err());
        let last = [&[0x7f][..], &[0xff; 7]].concat().repeat(2);
        let error = time.decode(Some(&last)).unwrap_err().to_string();
        assert!(error.contains("begins at 9223372036854775807"), "{error}");
        assert!(session.decode(Some(&last)).is_ok());
        let turned = [8_i64, 9].map(i64::to_be_bytes).concat();
        assert!(session.decode(Some(&turned)).unwrap_err().to_string().contains("from 9 to 8"));
        let by = TimeWindowed::<Vec<u8>>::of(Tumbling::of(Duration::from_secs(1)));
        assert!(by.decode(Some(&key)).is_err() && by.decode(Some(&last)).is_err());
        // What could not be read back is not written.
        let mut bytes = Vec::new();
        let windowed = |start, end| Windowed { key: vec![1], start, end };
        assert!(time.encode(&windowed(-1, 999), &mut bytes).is_err());
        assert!(time.encode(&windowed(i64::MAX, 0), &mut bytes).is_err());
        assert!(by.encode(&windowed(-1, 999), &mut bytes).is_err());
        assert!(by.encode(&windowed(i64::MAX, 0), &mut bytes).is_err());
        assert!(session.encode(&windowed(9, 8), &mut bytes).is_err());
        let changelog = ChangelogKey { window_key: Arc::new(time), has_sequence: true };
        assert!(changelog.decode(Some(&[0; 3])).is_err());
    }
}

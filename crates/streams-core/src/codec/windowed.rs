//! Windowed keys in Kafka Streams' bytes.

use std::sync::Arc;
use std::time::Duration;

use super::{Codec, CodecError, Natural, present};
use crate::record::Timestamp;
use crate::window::{Naming, Windowed, Windows, millis};

/// A windowed key as Kafka Streams' time-windowed serializer writes it: the key, then the window's
/// start as eight big-endian bytes. The end is not written: it follows from the size, or from the
/// [`Windows`] where each has its own.
pub struct TimeWindowed<K> {
    key: Arc<dyn Codec<K>>,
    ends: Ends,
}

/// Where the window with a certain start ends.
enum Ends {
    /// All are of one size.
    After(i64),
    /// The kind knows.
    By(Arc<dyn Fn(Timestamp) -> Timestamp + Send + Sync>),
}

impl Ends {
    fn of(windows: impl Windows) -> Self {
        Self::By(Arc::new(move |start| windows.starting_at(start).end))
    }

    fn end(&self, start: Timestamp) -> Timestamp {
        match self {
            Self::After(size_ms) => start.saturating_add(*size_ms),
            Self::By(end) => end(start),
        }
    }
}

impl<K: Natural> TimeWindowed<K> {
    /// For windows of `size`.
    pub fn of(size: Duration) -> Self {
        Self { key: K::codec(), ends: Ends::After(millis(size)) }
    }

    /// For windows of a kind that is not of one size, or whatever its size; not for sessions, which
    /// their start does not say everything about.
    ///
    /// ```
    /// use headwater::{Builder, Record, Table, Topic, Tumbling};
    /// use headwater::codec::{Text, TimeWindowed};
    /// use headwater_testkit::TopologyTest;
    /// use std::time::Duration;
    /// let windows = Tumbling::of(Duration::from_secs(60));
    /// let numbers = Topic::<String, i64>::new("numbers");
    /// let counts = Topic::<_, u64>::with("counts", TimeWindowed::<String>::by(windows), Text);
    /// let app = Builder::new("example");
    /// app.stream(&numbers).group_by_key().window(windows).count(&Table::new("seen")).to(&counts);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.send_record(&numbers, Record::new("a".into(), 7, 61_000))?;
    /// assert_eq!(test.take(&counts)?[0].0.end, 120_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by(windows: impl Windows) -> Self {
        Self { key: K::codec(), ends: Ends::of(windows) }
    }
}

impl<K: 'static> TimeWindowed<K> {
    /// For windows of `size` with a codec for the key.
    pub fn with(size: Duration, key: impl Codec<K>) -> Self {
        Self { key: Arc::new(key), ends: Ends::After(millis(size)) }
    }

    /// [`by`](TimeWindowed::by) with a codec for the key.
    pub fn by_with(windows: impl Windows, key: impl Codec<K>) -> Self {
        Self { key: Arc::new(key), ends: Ends::of(windows) }
    }
}

impl<K: 'static> Codec<Windowed<K>> for TimeWindowed<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        if !self.key.encode(&value.key, out)? {
            return Err(CodecError::null());
        }
        out.extend_from_slice(&value.start.to_be_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Windowed<K>, CodecError> {
        let bytes = present(bytes)?;
        let (key, start) = bytes
            .split_last_chunk::<8>()
            .ok_or_else(|| CodecError::new(format!("{} bytes hold no window", bytes.len())))?;
        let start = i64::from_be_bytes(*start);
        Ok(Windowed { key: self.key.decode(Some(key))?, start, end: self.ends.end(start) })
    }
}

/// A session's key as Kafka Streams' session-windowed serializer writes it: the key, then the
/// session's end and its start as eight big-endian bytes each.
pub struct SessionWindowed<K>(Arc<dyn Codec<K>>);

impl<K: Natural> SessionWindowed<K> {
    /// With the key's natural bytes.
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
    /// With a codec for the key.
    pub fn with(key: impl Codec<K>) -> Self {
        Self(Arc::new(key))
    }
}

impl<K: 'static> Codec<Windowed<K>> for SessionWindowed<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
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
        let (key, end, start) = split
            .ok_or_else(|| CodecError::new(format!("{} bytes hold no session", bytes.len())))?;
        let (start, end) = (i64::from_be_bytes(start), i64::from_be_bytes(end));
        Ok(Windowed { key: self.0.decode(Some(key))?, start, end })
    }
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
        let length = bytes.len().saturating_sub(if self.has_sequence { 4 } else { 0 });
        self.window_key.decode(Some(&bytes[..length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_then_big_endian_start() {
        let codec = TimeWindowed::<String>::of(Duration::from_secs(1));
        let windowed = Windowed { key: "k".to_owned(), start: 258, end: 1258 };
        let mut bytes = Vec::new();
        codec.encode(&windowed, &mut bytes).expect("encodes");
        assert_eq!(bytes, [b'k', 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(codec.decode(Some(&bytes)).expect("decodes"), windowed);
    }
}

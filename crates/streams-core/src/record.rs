//! Records as plain data: borrowed, as a transport delivers them, and typed, as operators pass them
//! on.

use std::fmt;
use std::sync::Arc;

/// Milliseconds since the Unix epoch; event time unless a name says otherwise.
pub type Timestamp = i64;

/// The name of a topic and the number of one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record's headers. Names may repeat, the order is preserved, and a value may be null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<str>, Option<Box<[u8]>>)>);

impl Headers {
    /// No headers; does not allocate.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a header.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        self.0.push((name.into(), value.map(Into::into)));
    }

    /// The value of the last header called `name`; `Some(None)` for a null value.
    pub fn last(&self, name: &str) -> Option<Option<&[u8]>> {
        self.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// All headers in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&[u8]>)> {
        self.0.iter().map(|(n, v)| (&**n, v.as_deref()))
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all headers.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// One record as fetched, borrowed from its [`RecordBatch`].
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Its offset in its partition.
    pub offset: i64,
    /// Its timestamp; −1 if the producer gave none.
    pub timestamp: Timestamp,
    /// Its key; `None` is the null key, which differs from an empty one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// The records of one fetch from one partition, in offset order. Offsets may have gaps because of
/// compaction and transaction markers.
///
/// A transport may implement this over its own buffers, so that records are decoded without a copy.
pub trait RecordBatch: Send {
    /// The number of records.
    fn len(&self) -> usize;

    /// Whether there are no records.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns record `index`, which must be below [`len`](Self::len).
    fn record(&self, index: usize) -> RawRecord<'_>;

    /// Appends the headers of record `index` to `headers`. It is called only when the headers are
    /// needed.
    fn headers(&self, index: usize, headers: &mut Headers);

    /// Approximately how much memory the batch uses. The default counts keys and values.
    fn bytes(&self) -> usize {
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let records = (0..self.len()).map(|index| self.record(index));
        records.map(|record| length(record.key) + length(record.value)).sum()
    }
}

/// A typed record on its way through the topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Event time in milliseconds.
    pub timestamp: Timestamp,
}

impl<K, V> Record<K, V> {
    /// A record from its parts.
    pub fn new(key: K, value: V, timestamp: Timestamp) -> Self {
        Self { key, value, timestamp }
    }
}

/// A batch that owns its records: for tests, and for transports without buffers of their own.
#[derive(Clone, Debug, Default)]
pub struct OwnedBatch(Vec<OwnedRecord>);

/// A record that owns its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedRecord {
    /// See [`RawRecord::offset`].
    pub offset: i64,
    /// See [`RawRecord::timestamp`].
    pub timestamp: Timestamp,
    /// See [`RawRecord::key`].
    pub key: Option<Box<[u8]>>,
    /// See [`RawRecord::value`].
    pub value: Option<Box<[u8]>>,
    /// Its headers.
    pub headers: Headers,
}

impl OwnedRecord {
    /// Copies record `index` of a batch, which must be below its length.
    pub fn of(batch: &dyn RecordBatch, index: usize) -> Self {
        let mut headers = Headers::new();
        batch.headers(index, &mut headers);
        Self::from_parts(&batch.record(index), headers)
    }

    /// Copies a record and gives it these headers.
    pub(crate) fn from_parts(record: &RawRecord<'_>, headers: Headers) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
            headers,
        }
    }
}

impl OwnedRecord {
    /// The record, borrowed.
    pub(crate) fn raw(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        }
    }

    /// The size of its key and value in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let length = |part: &Option<Box<[u8]>>| part.as_ref().map_or(0, |bytes| bytes.len());
        length(&self.key) + length(&self.value)
    }
}

impl From<Vec<OwnedRecord>> for OwnedBatch {
    fn from(records: Vec<OwnedRecord>) -> Self {
        Self(records)
    }
}

impl RecordBatch for OwnedBatch {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn record(&self, index: usize) -> RawRecord<'_> {
        self.0[index].raw()
    }

    fn headers(&self, index: usize, headers: &mut Headers) {
        for (name, value) in self.0[index].headers.iter() {
            headers.push(name, value);
        }
    }
}

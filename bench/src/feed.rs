//! The same records repeatedly, as if they were fetched again each time.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{Outgoing, Producer};
use streams_core::{Codec, Headers, RawRecord, RecordBatch, Timestamp, Topic};

/// Keys and values as bytes.
#[derive(Debug, Default)]
pub struct EncodedRecords {
    bytes: Vec<u8>,
    /// The ends of key and value, and the timestamp.
    ends: Vec<(usize, usize, Timestamp)>,
}

impl EncodedRecords {
    /// The bytes of `records` by the codecs of `topic`.
    pub fn of<K: 'static, V: 'static>(
        topic: &Topic<K, V>,
        records: impl IntoIterator<Item = (K, V, Timestamp)>,
    ) -> Arc<Self> {
        let mut all = Self::default();
        for (key, value, timestamp) in records {
            let key_end = all.append(&**topic.key_codec(), &key);
            let value_end = all.append(&**topic.value_codec(), &value);
            all.ends.push((key_end, value_end, timestamp));
        }
        Arc::new(all)
    }

    fn append<T: 'static>(&mut self, codec: &dyn Codec<T>, value: &T) -> usize {
        codec.encode(value, &mut self.bytes).expect("values of benchmarks can be encoded");
        self.bytes.len()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key, value and timestamp of one.
    pub fn get(&self, index: usize) -> (&[u8], &[u8], Timestamp) {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        let (key_end, value_end, timestamp) = self.ends[index];
        (&self.bytes[begin..key_end], &self.bytes[key_end..value_end], timestamp)
    }

    /// Sends all records to a topic, with the timestamps that `time` makes of theirs, and waits
    /// until they are acknowledged.
    ///
    /// # Panics
    /// If the log refuses a record.
    pub fn send(
        &self,
        producer: &mut dyn Producer,
        topic: &Arc<str>,
        time: impl Fn(Timestamp) -> Timestamp,
    ) {
        for index in 0..self.len() {
            let (key, value, timestamp) = self.get(index);
            let record = Outgoing {
                topic,
                partition: None,
                key: Some(key),
                value: Some(value),
                timestamp: time(timestamp),
                headers: None,
            };
            producer.send(&record).expect("the log takes records");
        }
        producer.flush(Duration::ZERO).expect("the log takes records");
    }
}

/// [`EncodedRecords`] as a batch that begins at an offset, later by some time.
#[derive(Debug)]
pub struct RecordFeed {
    /// The records.
    pub records: Arc<EncodedRecords>,
    /// The first one's offset.
    pub offset: i64,
    /// How much later they are than their timestamps say, in milliseconds.
    pub later_ms: i64,
}

impl RecordBatch for RecordFeed {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn record(&self, index: usize) -> RawRecord<'_> {
        let (key, value, timestamp) = self.records.get(index);
        RawRecord {
            offset: self.offset + index as i64,
            timestamp: timestamp + self.later_ms,
            key: Some(key),
            value: Some(value),
        }
    }

    fn headers(&self, _: usize, _: &mut Headers) {}

    fn bytes(&self) -> usize {
        self.records.bytes.len()
    }
}

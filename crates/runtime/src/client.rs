//! A plain client of the log: for programs that feed an application or look at what it wrote.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streams_core::{
    Codec, CodecError, Headers, Record, Timestamp, Topic, TopicPartition, partition_for,
};

use crate::transport::{
    Admin, ErrorKind, Fetched, NewTopic, Outgoing, Producer, ProducerConfig, Reader, ReaderConfig,
    Transport, TransportError,
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for a record: `Duration::MAX` from now is not a point in time.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A plain client: creates topics, writes records, reads what was committed. Calls block.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

/// Writing or reading failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The log cannot be reached, or refuses something.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A key or value could not be encoded or decoded.
    #[error("{topic}: {error}")]
    Codec {
        /// The topic; of a record that was read also the partition and offset.
        topic: String,
        /// Why.
        error: CodecError,
    },
    /// The topic does not exist.
    #[error("the topic {0} does not exist. Create it first")]
    NoTopic(Arc<str>),
    /// A record to write has a negative timestamp, which no log takes.
    #[error(
        "a record for {topic} has the timestamp {timestamp}: it is in milliseconds since 1970, and \
         not negative"
    )]
    NegativeTimestamp {
        /// The topic.
        topic: Arc<str>,
        /// The timestamp.
        timestamp: Timestamp,
    },
    /// The end of a topic was not reached in time. The reader keeps what it has read.
    #[error(
        "{partition} was read only up to offset {position} of {end}: no record came for {} s. An \
         open transaction may hold up what follows it",
        waited.as_secs()
    )]
    EndNotReached {
        /// The partition.
        partition: TopicPartition,
        /// The next offset to read.
        position: i64,
        /// The end when reading began.
        end: i64,
        /// For how long no record came.
        waited: Duration,
    },
}

streams_core::debug_is_display!(ClientError);

impl Client {
    /// A client of `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    /// Creates a topic with the log's default configuration unless it exists; `true` if it was
    /// created.
    ///
    /// Kafka's default deletes records whose *timestamp* is a week old. For records of the past,
    /// give a configuration with [`create_topic_with`](Self::create_topic_with). On the embedded
    /// log records expire only if `retention.ms` is set.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<bool, ClientError> {
        self.create_topic_with(name, partitions, &[])
    }

    /// [`create_topic`](Self::create_topic) with configuration as Kafka names it, for example
    /// `("retention.ms", "-1")`.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Result<bool, ClientError> {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = config.collect();
        let topic = NewTopic { name: name.into(), partitions, replication: None, config };
        match self.transport.admin()?.create(&topic, TIMEOUT) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Exists => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        let name: Arc<str> = topic.into();
        let found = self.transport.admin()?.describe(&[Arc::clone(&name)], TIMEOUT)?.pop();
        found.flatten().map(|info| info.partitions).ok_or(ClientError::NoTopic(name))
    }

    /// A writer, for records of any topic.
    pub fn writer(&self) -> Result<RecordWriter, ClientError> {
        let config = ProducerConfig {
            transactional_id: None,
            transaction_timeout: TIMEOUT,
            buffer_bytes_max: 64 << 20,
        };
        let mut producer = self.transport.producer(&config)?;
        producer.init(TIMEOUT)?;
        Ok(RecordWriter {
            client: self.clone(),
            producer,
            partitions: BTreeMap::new(),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// A reader of everything that was committed to a topic, from its beginning.
    pub fn reader<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
    ) -> Result<TopicReader<K, V>, ClientError> {
        self.reader_from(topic, &ReadFrom::Beginning)
    }

    /// A reader of what was committed to a topic, from a position of your choice.
    pub fn reader_from<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        from: &ReadFrom,
    ) -> Result<TopicReader<K, V>, ClientError> {
        let mut reader = self.transport.reader(&ReaderConfig::new(true))?;
        let mut partitions = Vec::new();
        for number in 0..self.partitions(topic.name())? {
            let partition = TopicPartition::new(Arc::clone(topic.name()), number);
            let (begin, end) = reader.bounds(&partition, TIMEOUT)?;
            let offset = match from {
                ReadFrom::Beginning | ReadFrom::Timestamp(_) => begin,
                ReadFrom::End => end,
                ReadFrom::Offsets(offsets) => match offsets.get(&number) {
                    Some(offset) => (*offset).clamp(begin, end),
                    None => begin,
                },
            };
            reader.add(&partition, offset)?;
            let since = match from {
                ReadFrom::Timestamp(since) => Some(*since),
                _ => None,
            };
            partitions.push(ReadPartition { partition, since });
        }
        Ok(TopicReader { topic: topic.clone(), reader, partitions, pending: VecDeque::new() })
    }

    /// An administrative client of the same log.
    pub fn admin(&self) -> Result<Box<dyn Admin>, ClientError> {
        Ok(self.transport.admin()?)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.transport)
    }
}

/// Writes records, idempotently, outside any transaction.
pub struct RecordWriter {
    client: Client,
    producer: Box<dyn Producer>,
    partitions: BTreeMap<Arc<str>, i32>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset.
    pub offset: i64,
}

impl RecordWriter {
    /// Sends a record; [`flush`](RecordWriter::flush) tells whether it arrived.
    ///
    /// The timestamp is in milliseconds since 1970. Negative ones are refused, also −1, which means
    /// "now" in Kafka: give the current time instead.
    pub fn send<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
        timestamp: Timestamp,
    ) -> Result<(), ClientError> {
        self.send_to(topic, None, key, value, timestamp, None)
    }

    /// Sends a record with headers; [`flush`](RecordWriter::flush) tells whether it arrived.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater::topics::Headers;
    /// # fn main() -> Result<(), headwater::errors::ClientError> {
    /// # let config = Config { broker: "embedded:".to_owned(), ..Config::default() };
    /// # let client = headwater::client(&config).expect("a log in memory");
    /// client.create_topic("orders", 1)?;
    /// let orders = Topic::<String, i64>::new("orders");
    /// let mut headers = Headers::new();
    /// headers.push("trace", Some(b"7f3a"));
    /// let mut writer = client.writer()?;
    /// writer.send_record(&orders, &Record::new("ann".into(), 250, 1_000), &headers)?;
    /// writer.flush()?;
    /// let read = client.reader(&orders)?.read_to_end()?;
    /// assert_eq!(read[0].headers, headers);
    /// # Ok(()) }
    /// ```
    pub fn send_record<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        record: &Record<K, V>,
        headers: &Headers,
    ) -> Result<(), ClientError> {
        let Record { key, value, timestamp } = record;
        self.send_to(topic, None, key, value, *timestamp, Some(headers))
    }

    /// Waits until everything that was sent is acknowledged.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.producer.flush(TIMEOUT)?)
    }

    /// Sends one record and waits until it is acknowledged. Returns where it was written.
    pub fn deliver<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
        timestamp: Timestamp,
    ) -> Result<RecordMetadata, ClientError> {
        let partition = self.partition(topic, key)?;
        let number = Some(partition.partition);
        self.producer.track(&partition);
        self.send_to(topic, number, key, value, timestamp, None)?;
        self.flush()?;
        let offset = self.producer.last_offset(&partition).ok_or_else(|| {
            let context = format!("delivery to {partition}");
            TransportError::new(ErrorKind::Unknown, context, "no offset was reported")
        })?;
        Ok(RecordMetadata { partition, offset })
    }

    /// The partition that the key belongs to.
    fn partition<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: &K,
    ) -> Result<TopicPartition, ClientError> {
        let name = topic.name();
        let count = match self.partitions.get(name) {
            Some(count) => *count,
            None => self.client.partitions(name)?,
        };
        self.partitions.insert(Arc::clone(name), count);
        self.key.clear();
        encode(name, &**topic.key_codec(), key, &mut self.key)?;
        Ok(TopicPartition::new(Arc::clone(name), partition_for(&self.key, count)))
    }

    fn send_to<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        partition: Option<i32>,
        key: &K,
        value: &V,
        timestamp: Timestamp,
        headers: Option<&Headers>,
    ) -> Result<(), ClientError> {
        if timestamp < 0 {
            let topic = Arc::clone(topic.name());
            return Err(ClientError::NegativeTimestamp { topic, timestamp });
        }
        self.key.clear();
        self.value.clear();
        let has_key = encode(topic.name(), &**topic.key_codec(), key, &mut self.key)?;
        let has_value = encode(topic.name(), &**topic.value_codec(), value, &mut self.value)?;
        self.producer.send(&Outgoing {
            topic: topic.name(),
            partition,
            key: has_key.then_some(&self.key),
            value: has_value.then_some(&self.value),
            timestamp,
            headers,
        })?;
        Ok(())
    }
}

fn encode<T: 'static>(
    topic: &str,
    codec: &dyn Codec<T>,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<bool, ClientError> {
    codec.encode(value, out).map_err(|error| ClientError::Codec { topic: topic.to_owned(), error })
}

/// Reads what was committed to a topic.
pub struct TopicReader<K, V> {
    topic: Topic<K, V>,
    reader: Box<dyn Reader>,
    partitions: Vec<ReadPartition>,
    pending: VecDeque<Result<ReadRecord<K, V>, ClientError>>,
}

/// A partition that is read.
struct ReadPartition {
    partition: TopicPartition,
    /// Records before the first one with this timestamp or a later one are skipped.
    since: Option<Timestamp>,
}

/// Where a [`TopicReader`] begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFrom {
    /// At the oldest records that still exist.
    #[default]
    Beginning,
    /// After the newest records.
    End,
    /// In each partition at the first record with this timestamp or a later one, in milliseconds.
    /// The topic is read from its beginning to find it.
    Timestamp(Timestamp),
    /// At these offsets, by partition; at the beginning of the others. An offset that does not
    /// exist is moved to the nearest one that does.
    Offsets(BTreeMap<i32, i64>),
}

/// A record that was read, with its partition and offset.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRecord<K, V> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its headers.
    pub headers: Headers,
    /// Key, value and timestamp.
    pub record: Record<K, V>,
}

impl<K: 'static, V: 'static> TopicReader<K, V> {
    /// The next record; `None` if there is none for as long as `wait`, or a day if that is longer.
    ///
    /// # Errors
    /// The log fails, or the next record cannot be decoded. Such a record is an error once, in its
    /// turn; the next call goes on after it.
    pub fn next(&mut self, wait: Duration) -> Result<Option<ReadRecord<K, V>>, ClientError> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        while self.pending.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            // It may return early with records that are skipped, or with none: a partition ended.
            self.poll(left)?;
            if left.is_zero() {
                break;
            }
        }
        self.pending.pop_front().transpose()
    }

    /// Reads everything up to the topic's current end.
    ///
    /// # Errors
    /// The log fails; or no record comes for 10 s, as before the end of an open transaction; or a
    /// record cannot be decoded. What was read is not lost: the reader keeps it for the next call
    /// of this or of [`next`](Self::next). A record that cannot be decoded is an error once, and
    /// left out then.
    pub fn read_to_end(&mut self) -> Result<Vec<ReadRecord<K, V>>, ClientError> {
        let mut ends = Vec::new();
        for ReadPartition { partition, .. } in &self.partitions {
            ends.push(self.reader.bounds(partition, TIMEOUT)?.1);
        }
        let mut deadline = Instant::now() + TIMEOUT;
        while let Some(behind) = self.behind(&ends) {
            if Instant::now() >= deadline {
                return Err(behind);
            }
            if self.poll(Duration::from_millis(20))? {
                deadline = Instant::now() + TIMEOUT;
            }
        }
        if let Some(broken) = self.pending.iter().position(Result::is_err) {
            self.pending.remove(broken).transpose()?;
        }
        self.pending.drain(..).collect()
    }

    /// The first partition that has not been read to its end.
    fn behind(&self, ends: &[i64]) -> Option<ClientError> {
        self.partitions.iter().zip(ends).find_map(|(ReadPartition { partition, .. }, end)| {
            let position = self.reader.position(partition).unwrap_or(0);
            (position < *end).then(|| ClientError::EndNotReached {
                partition: partition.clone(),
                position,
                end: *end,
                waited: TIMEOUT,
            })
        })
    }

    /// Whether anything came.
    fn poll(&mut self, wait: Duration) -> Result<bool, ClientError> {
        let fetched = self.reader.poll(wait, 10_000)?;
        for fetched in &fetched {
            for index in 0..fetched.batch.len() {
                let timestamp = fetched.batch.record(index).timestamp;
                if self.is_wanted(&fetched.partition, timestamp) {
                    let record = self.decode(fetched, index);
                    self.pending.push_back(record);
                }
            }
        }
        Ok(!fetched.is_empty())
    }

    fn is_wanted(&mut self, partition: &TopicPartition, timestamp: Timestamp) -> bool {
        let known = self.partitions.iter_mut().find(|one| one.partition == *partition);
        let Some(ReadPartition { since: since @ Some(_), .. }) = known else { return true };
        if since.is_some_and(|since| timestamp < since) {
            return false;
        }
        *since = None;
        true
    }

    fn decode(&self, fetched: &Fetched, index: usize) -> Result<ReadRecord<K, V>, ClientError> {
        let raw = fetched.batch.record(index);
        let broken = |part: &str, error: CodecError| ClientError::Codec {
            topic: format!("{} offset {}, its {part}", fetched.partition, raw.offset),
            error,
        };
        let key = self.topic.key_codec().decode(raw.key);
        let value = self.topic.value_codec().decode(raw.value);
        let mut headers = Headers::new();
        fetched.batch.headers(index, &mut headers);
        Ok(ReadRecord {
            partition: fetched.partition.partition,
            offset: raw.offset,
            headers,
            record: Record {
                key: key.map_err(|error| broken("key", error))?,
                value: value.map_err(|error| broken("value", error))?,
                timestamp: raw.timestamp,
            },
        })
    }
}

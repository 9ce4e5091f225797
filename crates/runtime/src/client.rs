//! A plain client of the log: for programs that feed an application or look at what it wrote.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streams_core::{
    Codec, CodecError, Headers, Record, Timestamp, Topic, TopicPartition, partition_for,
};

use crate::transport::{
    Admin, ErrorKind, NewTopic, Outgoing, Producer, ProducerConfig, Reader, ReaderConfig,
    Transport, TransportError,
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is waited for a record at most: `Duration::MAX` from now is no moment.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A plain client: creates topics, writes records, reads what was committed. Calls block.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

/// Writing or reading failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The log cannot be reached or refused something.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A key or value could not be encoded or decoded.
    #[error("{topic}: {error}")]
    Codec {
        /// The topic, with the place if there is one.
        topic: String,
        /// Why.
        error: CodecError,
    },
    /// The topic does not exist.
    #[error("the topic {0} does not exist")]
    NoTopic(Arc<str>),
}

impl Client {
    /// A client of `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    /// Creates a topic with the broker's default configuration unless it exists; `true` if it was
    /// created.
    ///
    /// Kafka's default deletes records whose *timestamp* is a week old: for records of the past
    /// give a configuration with [`create_topic_with`](Self::create_topic_with).
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

    /// A writer of records to any topic.
    pub fn writer(&self) -> Result<Writer, ClientError> {
        let config = ProducerConfig {
            transactional_id: None,
            transaction_timeout: TIMEOUT,
            buffer_bytes_max: 64 << 20,
        };
        let mut producer = self.transport.producer(&config)?;
        producer.init(TIMEOUT)?;
        let (key, value) = (Vec::new(), Vec::new());
        Ok(Writer { client: self.clone(), producer, partitions: BTreeMap::new(), key, value })
    }

    /// A reader of everything that was committed to a topic, from its beginning.
    pub fn reader<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
    ) -> Result<TopicReader<K, V>, ClientError> {
        let mut reader = self.transport.reader(&ReaderConfig::new(true))?;
        let mut partitions = Vec::new();
        for partition in 0..self.partitions(topic.name())? {
            let partition = TopicPartition::new(Arc::clone(topic.name()), partition);
            let (begin, _) = reader.bounds(&partition, TIMEOUT)?;
            reader.add(&partition, begin)?;
            partitions.push(partition);
        }
        Ok(TopicReader { topic: topic.clone(), reader, partitions, pending: VecDeque::new() })
    }

    /// The administrative client beneath.
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
pub struct Writer {
    client: Client,
    producer: Box<dyn Producer>,
    partitions: BTreeMap<Arc<str>, i32>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset.
    pub offset: i64,
}

impl Writer {
    /// Hands over a record; [`flush`](Writer::flush) says whether it arrived.
    pub fn send<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
        timestamp: Timestamp,
    ) -> Result<(), ClientError> {
        self.send_to(topic, None, key, value, timestamp)
    }

    /// Waits until everything sent was acknowledged.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.producer.flush(TIMEOUT)?)
    }

    /// Sends one record, waits for its delivery report, and tells where it is.
    pub fn deliver<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
        timestamp: Timestamp,
    ) -> Result<Delivered, ClientError> {
        let partition = self.partition(topic, key)?;
        let number = Some(partition.partition);
        self.producer.track(&partition);
        self.send_to(topic, number, key, value, timestamp)?;
        self.flush()?;
        let offset = self.producer.last_offset(&partition).ok_or_else(|| {
            let context = format!("delivery to {partition}");
            TransportError::new(ErrorKind::Unknown, context, "no offset was reported")
        })?;
        Ok(Delivered { partition, offset })
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
    ) -> Result<(), ClientError> {
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
            headers: None,
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
    partitions: Vec<TopicPartition>,
    pending: VecDeque<ReadRecord<K, V>>,
}

/// A record that was read, with its place.
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
    /// The next record; waits at most `wait`, and at most a day.
    pub fn next(&mut self, wait: Duration) -> Result<Option<ReadRecord<K, V>>, ClientError> {
        if self.pending.is_empty() {
            self.poll(wait.min(WAIT_MAX))?;
        }
        Ok(self.pending.pop_front())
    }

    /// Everything between here and the topic's end as it is now.
    pub fn read_to_end(&mut self) -> Result<Vec<ReadRecord<K, V>>, ClientError> {
        let mut ends = Vec::new();
        for partition in &self.partitions {
            ends.push(self.reader.bounds(partition, TIMEOUT)?.1);
        }
        let deadline = Instant::now() + TIMEOUT;
        while self.is_behind(&ends) && Instant::now() < deadline {
            self.poll(Duration::from_millis(20))?;
        }
        Ok(self.pending.drain(..).collect())
    }

    fn is_behind(&self, ends: &[i64]) -> bool {
        let partitions = self.partitions.iter().zip(ends);
        partitions.into_iter().any(|(partition, end)| self.reader.position(partition) < Some(*end))
    }

    fn poll(&mut self, wait: Duration) -> Result<(), ClientError> {
        for fetched in self.reader.poll(wait, 10_000)? {
            for index in 0..fetched.batch.len() {
                let raw = fetched.batch.record(index);
                let broken = |error| ClientError::Codec {
                    topic: format!("{} offset {}", fetched.partition, raw.offset),
                    error,
                };
                let key = self.topic.key_codec().decode(raw.key).map_err(broken)?;
                let value = self.topic.value_codec().decode(raw.value).map_err(broken)?;
                let mut headers = Headers::new();
                fetched.batch.headers(index, &mut headers);
                self.pending.push_back(ReadRecord {
                    partition: fetched.partition.partition,
                    offset: raw.offset,
                    headers,
                    record: Record { key, value, timestamp: raw.timestamp },
                });
            }
        }
        Ok(())
    }
}

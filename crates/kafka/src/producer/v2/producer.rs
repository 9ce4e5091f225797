//! The transport's producer over the second client.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use confluent_kafka::common::header::{RecordHeader, RecordHeaders};
use confluent_kafka::common::serialization::ByteArraySerializer;
use confluent_kafka::common::{Error, TopicPartition as TheirPartition};
use confluent_kafka::consumer::{ConsumerGroupMetadata, OffsetAndMetadata};
use confluent_kafka::producer::{
    Callback, KafkaProducer, Producer as _, ProducerConfig, ProducerRecord,
    ProducerRecordOptionsBuilder,
};
use runtime::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, Result, TransportError,
};
use streams_core::{Headers, TopicPartition};

use super::clients::{Clients, Executor};
use super::delivery::{Failures, Target};
use super::error;
use super::properties::Properties;
use crate::config::KafkaConfig;

type Client = KafkaProducer<Vec<u8>, Vec<u8>>;

pub(crate) struct V2Producer {
    kafka: KafkaConfig,
    executor: Arc<Executor>,
    /// `None` once it is dropped.
    client: Option<Client>,
    topics: BTreeMap<Arc<str>, KnownTopic>,
    tracked: BTreeSet<TopicPartition>,
    failures: Failures,
    sent: u64,
}

/// How often `send` looks at failed deliveries.
const CHECK_EVERY: u64 = 1_024;

/// A topic that was found to exist.
struct KnownTopic {
    any: Arc<Target>,
    /// By partition; made when first sent to.
    partitions: Vec<Arc<Target>>,
}

impl V2Producer {
    pub(crate) fn new(
        clients: Clients,
        properties: &Properties,
        kafka: &KafkaConfig,
    ) -> Result<Self> {
        let executor = clients.executor()?;
        let client = {
            let _inside = executor.runtime()?.enter();
            let serializer = ByteArraySerializer::default;
            let made = ProducerConfig::new(properties)
                .and_then(|config| KafkaProducer::new(config, serializer(), serializer()));
            made.map_err(|error| {
                TransportError::new(ErrorKind::Refused, "opening a producer", error.to_string())
            })?
        };
        Ok(Self {
            kafka: kafka.clone(),
            executor,
            client: Some(client),
            topics: BTreeMap::new(),
            tracked: BTreeSet::new(),
            failures: Failures::default(),
            sent: 0,
        })
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| closed("it was closed"))
    }

    /// Runs a request of a transaction to its end, or says after `timeout` that its outcome is not
    /// known.
    fn request(
        &self,
        context: &str,
        timeout: Duration,
        work: impl Future<Output = std::result::Result<(), Error>>,
    ) -> Result<()> {
        let done = async { tokio::time::timeout(timeout, work).await };
        match self.executor.block_on(done)? {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error::transactional(context, &error)),
            Err(_) => Err(TransportError::new(ErrorKind::Unknown, context, "timed out")),
        }
    }

    fn target(&mut self, record: &Outgoing<'_>) -> Result<&Arc<Target>> {
        if !self.topics.contains_key(record.topic) {
            self.executor.check_topic(&self.kafka, record.topic)?;
            let any = Target::new(record.topic, &self.failures);
            let known = KnownTopic { any, partitions: Vec::new() };
            self.topics.insert(Arc::clone(record.topic), known);
        }
        let known = self.topics.get_mut(record.topic);
        let known = known.ok_or_else(|| closed("the topic is not known"))?;
        let Some(partition) = record.partition.and_then(|number| usize::try_from(number).ok())
        else {
            return Ok(&known.any);
        };
        while known.partitions.len() <= partition {
            known.partitions.push(Target::new(record.topic, &self.failures));
        }
        Ok(&known.partitions[partition])
    }

    /// Hands a record over. The client only waits if its buffer is full or if it does not know the
    /// topic's partitions, so it is asked once without the cost of an executor.
    fn hand_over(
        &self,
        record: ProducerRecord<&[u8], &[u8]>,
        delivery: Box<dyn Callback>,
    ) -> Result<std::result::Result<(), Error>> {
        let runtime = self.executor.runtime()?;
        let mut sending = pin!(self.client()?.send(record, Some(delivery)));
        let _inside = runtime.enter();
        let sent = match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent,
            Poll::Pending => runtime.block_on(sending),
        };
        // The delivery is told, also of what is refused at once.
        Ok(sent.map(drop))
    }
}

impl Producer for V2Producer {
    fn init(&mut self, timeout: Duration) -> Result<()> {
        let client = self.client()?;
        let work = async { tokio::time::timeout(timeout, client.init_transactions()).await };
        const CONTEXT: &str = "initializing transactions";
        match self.executor.block_on(work)? {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error::plain(CONTEXT, &error)),
            // Nothing was begun yet: it can be tried again, with a new producer.
            Err(_) => Err(TransportError::new(ErrorKind::Retriable, CONTEXT, "timed out")),
        }
    }

    fn begin(&mut self) -> Result<()> {
        let begun = self.client()?.begin_transaction();
        begun.map_err(|error| error::transactional("beginning a transaction", &error))
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        let delivery = self.target(record)?.delivery();
        let sent = match theirs(record) {
            Ok(theirs) => self.hand_over(theirs, delivery)?,
            Err(error) => Err(error),
        };
        let context = || format!("sending to {}", record.topic);
        sent.map_err(|error| error::delivery(&context(), &error))?;
        self.sent += 1;
        if self.sent.is_multiple_of(CHECK_EVERY) { self.failures.take() } else { Ok(()) }
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        const CONTEXT: &str = "flushing";
        let client = self.client()?;
        let work = async { tokio::time::timeout(timeout, client.flush()).await };
        match self.executor.block_on(work)? {
            Ok(Ok(())) => self.failures.take(),
            Ok(Err(error)) => Err(error::delivery(CONTEXT, &error)),
            Err(_) => {
                let why = "not acknowledged in time";
                Err(TransportError::new(ErrorKind::Abortable, CONTEXT, why))
            }
        }
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        const CONTEXT: &str = "adding offsets to the transaction";
        let theirs = |commit: &OffsetCommit| {
            let OffsetCommit { partition, offset, metadata } = commit;
            let partition = TheirPartition::new(Arc::clone(&partition.topic), partition.partition);
            Ok((partition, OffsetAndMetadata::with_metadata(*offset, metadata.as_str())?))
        };
        let offsets: std::result::Result<HashMap<_, _>, Error> =
            offsets.iter().map(theirs).collect();
        let offsets = offsets.map_err(|error| error::transactional(CONTEXT, &error))?;
        let group = Group(group.clone());
        let client = self.client()?;
        self.request(CONTEXT, timeout, client.send_offsets_to_transaction(offsets, &group))
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        self.flush(timeout)?;
        self.request("committing", timeout, self.client()?.commit_transaction())
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.request("aborting", timeout, self.client()?.abort_transaction())?;
        // What failed before is what was aborted.
        self.failures.take().or(Ok(()))
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.tracked.insert(partition.clone());
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        let known = self.topics.get(&self.tracked.get(partition)?.topic)?;
        known.partitions.get(usize::try_from(partition.partition).ok()?)?.last_offset()
    }
}

impl Drop for V2Producer {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if let Ok(runtime) = self.executor.runtime() {
            // What is in flight belongs to a transaction that nobody will commit.
            runtime.spawn(async move { client.close_with_timeout(Duration::ZERO).await });
        }
    }
}

fn closed(why: &str) -> TransportError {
    TransportError::new(ErrorKind::Fatal, "the producer", why)
}

fn theirs<'a>(
    record: &Outgoing<'a>,
) -> std::result::Result<ProducerRecord<&'a [u8], &'a [u8]>, Error> {
    let options = ProducerRecordOptionsBuilder::new()
        .set_topic(record.topic.to_string())
        .set_partition(record.partition)
        .set_timestamp((record.timestamp >= 0).then_some(record.timestamp))
        .set_key(record.key)
        .set_value(record.value)
        .set_headers(record.headers.map(headers))
        .build()?;
    ProducerRecord::with_options(options)
        .map_err(|error| Error::local_illegal_argument(error.to_string()))
}

fn headers(headers: &Headers) -> RecordHeaders {
    let theirs = |(name, value): (&str, Option<&[u8]>)| {
        RecordHeader::new(name.to_owned(), value.map(<[u8]>::to_vec))
    };
    headers.iter().map(theirs).collect()
}

/// librdkafka's membership, in the other client's words.
#[derive(Debug)]
struct Group(GroupMetadata);

impl ConsumerGroupMetadata for Group {
    fn group_id(&self) -> &str {
        &self.0.group_id
    }

    fn generation_id(&self) -> i32 {
        self.0.generation
    }

    fn member_id(&self) -> &str {
        &self.0.member_id
    }

    fn group_instance_id(&self) -> Option<&str> {
        self.0.instance_id.as_deref()
    }
}

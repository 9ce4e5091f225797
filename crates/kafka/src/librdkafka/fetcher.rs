//! A worker's data plane: one queue into which the partitions of its tasks are forwarded.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use runtime::transport::{ErrorKind, FetchProgress, Fetched, Fetcher, Result, TransportError};
use streams_core::TopicPartition;

use super::batch::MessageBatch;
use super::queue::{Message, Queue};
use crate::consumer::{Consumer, list};
use crate::error;

pub(crate) struct KafkaFetcher {
    consumer: Arc<Consumer>,
    queue: Arc<Queue>,
    partitions: BTreeMap<TopicPartition, Added>,
    messages: Vec<Message>,
}

/// A partition that was added.
struct Added {
    /// Its own queue, which is forwarded to the worker's.
    queue: Queue,
    /// Where it was last told to go on.
    from: i64,
    /// Everything below was delivered.
    position: i64,
    /// librdkafka has said that there is nothing more to read at this position.
    is_at_end: bool,
}

/// How long a partition that was just assigned may take to become seekable.
const SEEK: Duration = Duration::from_secs(5);

impl KafkaFetcher {
    pub(crate) fn new(consumer: &Arc<Consumer>) -> Self {
        Self {
            consumer: Arc::clone(consumer),
            queue: Arc::new(Queue::new(consumer)),
            partitions: BTreeMap::new(),
            messages: Vec::new(),
        }
    }

    /// Moves a partition to an offset. What was fetched before is dropped by librdkafka: it is of
    /// an older version.
    fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let context = || format!("seeking {partition} to {offset:?}");
        let deadline = Instant::now() + SEEK;
        loop {
            let mut to = TopicPartitionList::new();
            to.add_partition_offset(&partition.topic, partition.partition, offset)
                .map_err(|error| error::plain(context(), error))?;
            let sought = self.consumer.seek_partitions(to, Duration::from_secs(1));
            let result =
                sought.and_then(|list| list.elements().first().map_or(Ok(()), |one| one.error()));
            match result {
                Ok(()) => return Ok(()),
                // The assignment is on its way through librdkafka's own thread.
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error::plain(context(), error)),
            }
        }
    }

    /// Hands out runs of messages of one partition.
    fn group(&mut self) -> Result<Vec<Fetched>> {
        let mut fetched = Vec::new();
        let mut run: Vec<Message> = Vec::new();
        for message in mem::take(&mut self.messages) {
            if message.raw().err != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                // The end comes after the records before it.
                fetched.extend(self.fetched(mem::take(&mut run)));
                if !self.is_outdated(&message) {
                    self.note_end(&message);
                    partition_event(&message)?;
                }
                continue;
            }
            let same = run.first().is_some_and(|first| {
                let (a, b) = (first.raw(), message.raw());
                a.rkt == b.rkt && a.partition == b.partition
            });
            if !same {
                fetched.extend(self.fetched(mem::take(&mut run)));
            }
            run.push(message);
        }
        fetched.extend(self.fetched(run));
        Ok(fetched)
    }

    /// Whether an event is about a place that the partition was moved away from: it is assigned at
    /// offset 0, which may be gone, and only then moved to where it goes on.
    fn is_outdated(&self, event: &Message) -> bool {
        let (topic, number) = (event.topic(), event.raw().partition);
        let mut known = self.partitions.iter();
        let added = known.find(|(one, _)| one.partition == number && &*one.topic == topic);
        added.is_none_or(|(_, added)| event.raw().offset >= 0 && event.raw().offset < added.from)
    }

    /// Queues keep the order: everything before the event was taken.
    fn note_end(&mut self, event: &Message) {
        let is_end = RDKafkaErrorCode::from(event.raw().err) == RDKafkaErrorCode::PartitionEOF;
        if let Some((_, added)) = self.added_mut(event) {
            added.is_at_end = is_end;
            added.position = added.position.max(event.raw().offset);
        }
    }

    fn added_mut(&mut self, message: &Message) -> Option<(&TopicPartition, &mut Added)> {
        let (topic, number) = (message.topic(), message.raw().partition);
        let mut known = self.partitions.iter_mut();
        known.find(|(one, _)| one.partition == number && &*one.topic == topic)
    }

    fn fetched(&mut self, messages: Vec<Message>) -> Option<Fetched> {
        let last = messages.last()?;
        // Removed a moment ago: whoever has it now fetches from its own offset.
        let (partition, added) = self.added_mut(last)?;
        added.is_at_end = false;
        added.position = last.raw().offset + 1;
        let partition = partition.clone();
        let batch = Box::new(MessageBatch::new(messages, Arc::clone(&self.consumer)));
        Some(Fetched { partition, batch })
    }
}

/// What comes through a queue beside records.
pub(crate) fn partition_event(message: &Message) -> Result<()> {
    let code = RDKafkaErrorCode::from(message.raw().err);
    let place = format!("{}-{}", message.topic(), message.raw().partition);
    match code {
        RDKafkaErrorCode::PartitionEOF => Ok(()),
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
            let context = format!("fetching {place} at offset {}", message.raw().offset);
            let why = "the log no longer has (or does not have yet) this offset: records were \
                       deleted before they were processed, or the topic was created again";
            Err(TransportError::new(ErrorKind::Refused, context, why))
        }
        code => match error::code(format!("fetching {place}"), code) {
            error if error.kind() == ErrorKind::Retriable => {
                tracing::warn!(target: "headwater::kafka", %error, "librdkafka tries again");
                Ok(())
            }
            error => Err(error),
        },
    }
}

impl Fetcher for KafkaFetcher {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        let context = || format!("fetching {partition}");
        if !self.partitions.contains_key(partition) {
            let queue = Queue::of_partition(&self.consumer, partition).ok_or_else(|| {
                TransportError::new(ErrorKind::NotFound, context(), "unknown to librdkafka")
            })?;
            queue.forward(Some(&self.queue));
            let added = Added { queue, from: 0, position: 0, is_at_end: false };
            self.partitions.insert(partition.clone(), added);
        }
        if let Some(added) = self.partitions.get_mut(partition) {
            added.from = offset.unwrap_or(0);
            added.position = added.from;
            added.is_at_end = false;
        }
        self.seek(partition, offset.map_or(Offset::Beginning, Offset::Offset))?;
        let resumed = self.consumer.resume(&list([partition]));
        resumed.map_err(|error| error::plain(context(), error))
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        let Some(added) = self.partitions.remove(partition) else { return Ok(()) };
        // It may be gone from the assignment already.
        if let Err(error) = self.consumer.pause(&list([partition])) {
            tracing::debug!(target: "headwater::kafka", %error, %partition, "pause");
        }
        added.queue.forward(None);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        let paused = self.consumer.pause(&list([partition]));
        paused.map_err(|error| error::plain(format!("pausing {partition}"), error))
    }

    fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        let resumed = self.consumer.resume(&list([partition]));
        resumed.map_err(|error| error::plain(format!("resuming {partition}"), error))
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.queue.take(timeout, records_max, &mut self.messages);
        self.group()
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let queue = Arc::clone(&self.queue);
        Arc::new(move || queue.wake())
    }

    /// What librdkafka last said of the end, even if the partition's leader is away since: it tells
    /// nobody about that.
    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        self.partitions.get(partition).is_some_and(|added| added.is_at_end)
    }

    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        let known = self.partitions.iter().filter_map(|(partition, added)| {
            let position = added.position;
            if added.is_at_end {
                return Some((partition.clone(), FetchProgress { position, end: position }));
            }
            let topic = std::ffi::CString::new(&*partition.topic).ok()?;
            let (mut low, mut high) = (-1, -1);
            // SAFETY: the client is alive, the name is NUL-terminated, the results are written to
            // valid places. The call reads what librdkafka knows and sends nothing.
            let code = unsafe {
                rd::rd_kafka_get_watermark_offsets(
                    self.consumer.client().native_ptr(),
                    topic.as_ptr(),
                    partition.partition,
                    &mut low,
                    &mut high,
                )
            };
            let known = code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0;
            known.then(|| (partition.clone(), FetchProgress { position, end: high }))
        });
        known.collect()
    }
}

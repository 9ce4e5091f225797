//! Reads single partitions from given offsets, outside the group.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use runtime::transport::{ErrorKind, Fetched, Reader, ReaderConfig, Result, TransportError};
use streams_core::TopicPartition;

use super::batch::MessageBatch;
use super::fetcher::partition_event;
use super::queue::{Message, Queue};
use crate::config::{KafkaConfig, Role};
use crate::consumer::{Consumer, Context};
use crate::error;

/// A partition is looked after when nothing came from it for so long, and then less and less often.
const QUIET: Duration = Duration::from_secs(5);
const QUIET_MAX: Duration = Duration::from_secs(60);
/// How long the log is asked for the end of a quiet partition; others wait meanwhile.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) struct KafkaReader {
    consumer: Arc<Consumer>,
    /// Asks for bounds: a read_committed consumer would be told where the open transactions begin
    /// instead of the end.
    bounds: Arc<Consumer>,
    queue: Queue,
    partitions: BTreeMap<TopicPartition, Reading>,
    messages: Vec<Message>,
    /// What went wrong and was not said yet.
    failed: Option<TransportError>,
}

/// A partition that is being read.
struct Reading {
    topic: Topic,
    partition: i32,
    position: i64,
    /// When to look after it if nothing comes, and how long it will have been quiet then.
    look_at: Instant,
    quiet: Duration,
}

impl KafkaReader {
    pub(crate) fn new(kafka: &KafkaConfig, config: &ReaderConfig) -> Result<Self> {
        let open = |isolation: &str| -> Result<Arc<Consumer>> {
            let mut client = kafka.client(Role::Consumer);
            client
                .set("isolation.level", isolation)
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "error")
                .set("queued.max.messages.kbytes", "16384");
            let consumer: rdkafka::error::KafkaResult<Consumer> =
                client.create_with_context(Context::default());
            let consumer = consumer.map_err(|error| error::plain("opening a reader", error))?;
            let consumer = Arc::new(consumer);
            crate::consumer::keep_token(kafka, &consumer)?;
            Ok(consumer)
        };
        let bounds = open("read_uncommitted")?;
        let consumer =
            if config.read_committed { open("read_committed")? } else { Arc::clone(&bounds) };
        let queue = Queue::new(&consumer);
        let (partitions, messages, failed) = (BTreeMap::new(), Vec::new(), None);
        Ok(Self { consumer, bounds, queue, partitions, messages, failed })
    }

    /// Notes how far a message or the end of a partition brings us; keeps messages only.
    fn note(
        &mut self,
        message: Message,
        runs: &mut Vec<(TopicPartition, Vec<Message>)>,
    ) -> Result<()> {
        let raw = message.raw();
        let (code, number, offset) = (RDKafkaErrorCode::from(raw.err), raw.partition, raw.offset);
        let topic = message.topic();
        let mut known = self.partitions.iter_mut();
        let found = known.find(|(one, _)| one.partition == number && &*one.topic == topic);
        let Some((partition, reading)) = found else { return Ok(()) };
        match code {
            // What it has passed came before reading began again.
            RDKafkaErrorCode::NoError if offset < reading.position => {}
            RDKafkaErrorCode::NoError => {
                reading.heard();
                reading.position = offset + 1;
                match runs.last_mut().filter(|(last, _)| last == partition) {
                    Some((_, run)) => run.push(message),
                    None => runs.push((partition.clone(), vec![message])),
                }
            }
            // The end lies behind markers and aborted records too.
            RDKafkaErrorCode::PartitionEOF => reading.position = reading.position.max(offset),
            _ => partition_event(&message)?,
        }
        Ok(())
    }

    /// Looks after the partition that has been quiet for longest, if that was for long: librdkafka
    /// has been seen to fetch no more from a partition after its broker had died and come back.
    fn look_after_quiet(&mut self) {
        let now = Instant::now();
        let Some((partition, reading)) =
            self.partitions.iter_mut().min_by_key(|(_, reading)| reading.look_at)
        else {
            return;
        };
        if reading.look_at > now {
            return;
        }
        reading.quiet = (reading.quiet * 2).min(QUIET_MAX);
        reading.look_at = now + reading.quiet;
        let (partition, position) = (partition.clone(), reading.position);
        match self.bounds(&partition, LOOK) {
            // Or it waits for an open transaction, and goes on waiting.
            Ok((_, end)) if position < end => {
                tracing::debug!(target: "headwater::kafka", %partition, position, end,
                    "nothing came for long: reading begins again here");
                if let Some(reading) = self.partitions.get(&partition) {
                    reading.stop();
                    reading.start(&self.queue);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(target: "headwater::kafka", %error, "later"),
        }
    }
}

impl Reading {
    /// Reads on from where it stands. Whether librdkafka takes it.
    fn start(&self, queue: &Queue) -> bool {
        // SAFETY: topic and queue belong to the same living consumer and are kept until the
        // partition is stopped.
        let started = unsafe {
            rd::rd_kafka_consume_start_queue(
                self.topic.ptr,
                self.partition,
                self.position,
                queue.raw(),
            )
        };
        started == 0
    }

    fn stop(&self) {
        // SAFETY: the topic is alive; of a partition that is not started it is an error, and no
        // more.
        unsafe { rd::rd_kafka_consume_stop(self.topic.ptr, self.partition) };
    }

    fn heard(&mut self) {
        self.quiet = QUIET;
        self.look_at = Instant::now() + QUIET;
    }
}

impl Reader for KafkaReader {
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)> {
        let TopicPartition { topic, partition: number } = partition;
        let found = self.bounds.fetch_watermarks(topic, *number, timeout);
        found.map_err(|error| error::plain(format!("the bounds of {partition}"), error))
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.remove(partition)?;
        let failed = |why: &str| {
            TransportError::new(ErrorKind::Retriable, format!("reading {partition}"), why)
        };
        let topic = Topic::new(&self.consumer, &partition.topic)
            .ok_or_else(|| failed("librdkafka does not take the topic"))?;
        let reading = Reading {
            topic,
            partition: partition.partition,
            position: offset,
            look_at: Instant::now() + QUIET,
            quiet: QUIET,
        };
        if !reading.start(&self.queue) {
            return Err(failed("librdkafka does not start"));
        }
        self.partitions.insert(partition.clone(), reading);
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.partitions.remove(partition);
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.queue.take(timeout, records_max, &mut self.messages);
        let mut runs = Vec::new();
        for message in mem::take(&mut self.messages) {
            if let Err(error) = self.note(message, &mut runs) {
                self.failed.get_or_insert(error);
            }
        }
        self.look_after_quiet();
        // What came with it is delivered first: the positions have passed it.
        if let Some(error) = self.failed.take_if(|_| runs.is_empty()) {
            return Err(error);
        }
        let fetched = runs.into_iter().map(|(partition, run)| {
            let batch = Box::new(MessageBatch::new(run, Arc::clone(&self.consumer)));
            Fetched { partition, batch: batch as _ }
        });
        Ok(fetched.collect())
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition).map(|reading| reading.position)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.partitions.clear();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A topic handle of librdkafka, which keeps its consumer alive.
struct Topic {
    ptr: *mut rd::rd_kafka_topic_t,
    _consumer: Arc<Consumer>,
}

// SAFETY: librdkafka's topic handles are locked inside and may be used from any thread.
unsafe impl Send for Topic {}

impl Topic {
    fn new(consumer: &Arc<Consumer>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client is alive, the name NUL-terminated, a null configuration is the
        // default; the result is owned or null.
        let ptr = unsafe {
            rd::rd_kafka_topic_new(
                consumer.client().native_ptr(),
                name.as_ptr(),
                std::ptr::null_mut(),
            )
        };
        (!ptr.is_null()).then(|| Self { ptr, _consumer: Arc::clone(consumer) })
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle was owned and is given back once.
        unsafe { rd::rd_kafka_topic_destroy(self.ptr) };
    }
}

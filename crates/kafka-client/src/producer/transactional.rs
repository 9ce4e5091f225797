//! A producer of transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::accumulator::{Accumulator, QueueId};
use super::coordinator::Coordinators;
use super::partition_queue::PartitionQueue;
use super::sender::Senders;
use super::topics::TopicQueues;
use crate::cluster::{KafkaCluster, MISSING};
use crate::error::{self, ErrorClass, KafkaClientError};
use crate::partition::PartitionId;
use crate::protocol::ErrorCode;
use crate::record::ProducerRecord;
use crate::requests::{Leader, MetadataTopic, TopicOffsets, TxnOffsetCommit};
use crate::settings::ProducerSettings;
use crate::{Result, connection};

/// A producer of transactions, by the protocol of KIP-890.
///
/// The order is [`init`](Self::init), then for each transaction [`begin`](Self::begin), any number
/// of [`send`](Self::send), [`send_offsets`](Self::send_offsets), then [`commit`](Self::commit) or
/// [`abort`](Self::abort). After an error of class [`Abortable`](ErrorClass::Abortable) the
/// transaction must be aborted; after [`Fenced`](ErrorClass::Fenced),
/// [`Unknown`](ErrorClass::Unknown) or [`Fatal`](ErrorClass::Fatal) the producer must be dropped.
pub struct TransactionalProducer {
    cluster: Arc<KafkaCluster>,
    accumulator: Arc<Accumulator>,
    senders: Arc<Senders>,
    coordinators: Coordinators,
    topics: TopicQueues,
    /// How large a batch topics take.
    bytes_max: BTreeMap<Arc<str>, usize>,
    refreshed: Instant,
    in_transaction: bool,
}

/// An offset to commit with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetToCommit<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Text to keep with it.
    pub metadata: &'a str,
}

/// A member's identity in its group, which fences its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMetadata<'a> {
    /// The group.
    pub group_id: &'a str,
    /// The generation.
    pub generation: i32,
    /// The member.
    pub member_id: &'a str,
    /// The static member's id, if it has one.
    pub group_instance_id: Option<&'a str>,
}

/// Between requests about a topic that does not exist yet.
const PAUSE: Duration = Duration::from_millis(20);

/// How long `send` waits for space.
const SPACE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often topics are looked up again: they may have grown, or moved.
const REFRESH: Duration = Duration::from_secs(30);

/// How long that may take, because the caller waits for it.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

impl TransactionalProducer {
    /// A producer that connects when it is initialized.
    pub fn new(cluster: Arc<KafkaCluster>, settings: ProducerSettings) -> Self {
        let id = settings.transactional_id.clone();
        let backoff = settings.backoff;
        let coordinators = Coordinators::new(Arc::clone(&cluster), &id, backoff);
        let accumulator = Arc::new(Accumulator::new(settings));
        let senders = Arc::new(Senders::new(Arc::clone(&accumulator), Arc::clone(&cluster)));
        Self {
            cluster,
            accumulator,
            senders,
            coordinators,
            topics: TopicQueues::default(),
            bytes_max: BTreeMap::new(),
            refreshed: Instant::now(),
            in_transaction: false,
        }
    }

    /// Looks a topic up before the first record goes to it, which does not create it.
    fn look_up(&mut self, name: &Arc<str>) -> Result<usize> {
        let context = || format!("sending to {name}");
        let found = self.find(name, Instant::now() + MISSING);
        let found = found.map_err(|error| error::plain(&context(), error))?;
        self.insert(name, &found.leaders)
    }

    /// A topic that was just created is known to one broker earlier than to the other.
    fn find(&self, name: &Arc<str>, deadline: Instant) -> connection::Result<MetadataTopic> {
        loop {
            let found = self.cluster.topics(&[Arc::clone(name)], deadline)?.into_iter().next();
            let code = match found {
                Some(topic) if topic.code == ErrorCode::NONE => return Ok(topic),
                found => found.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.code),
            };
            if !code.is_retriable() || Instant::now() + PAUSE >= deadline {
                return Err(code.into());
            }
            self.cluster.avoid_current();
            thread::sleep(PAUSE);
        }
    }

    /// Adds queues for the partitions of a topic that have none yet.
    fn insert(&mut self, name: &Arc<str>, leaders: &[Leader]) -> Result<usize> {
        let any = self.cluster.any().unwrap_or(0);
        let known = |leader: &Leader| {
            let broker = if leader.broker >= 0 { leader.broker } else { any };
            Leader { broker, ..*leader }
        };
        self.senders.start(leaders.iter().map(|leader| known(leader).broker))?;
        let queues = self.topics.find(name).map(|number| self.topics.queues(number).to_vec());
        let mut queues = queues.unwrap_or_default();
        // A topic that was deleted and created again may have fewer.
        queues.truncate(leaders.len());
        for (partition, leader) in (0..).zip(leaders).skip(queues.len()) {
            let mut queue = PartitionQueue::new(Arc::clone(name), partition, known(leader));
            queue.bytes_max = self.bytes_max.get(name).copied().unwrap_or(usize::MAX);
            queues.push(self.accumulator.add_queue(queue));
        }
        Ok(self.topics.insert(name, queues))
    }

    /// A topic may grow, and its keys have to go where other clients send them. And a leader may be
    /// cut off from the other brokers without knowing that there is another one.
    fn refresh(&mut self) {
        self.refreshed = Instant::now();
        let names = self.topics.names();
        self.cluster.avoid_current();
        let deadline = Instant::now() + REFRESH_TIMEOUT;
        let Ok(found) = self.cluster.topics(&names, deadline) else { return };
        for topic in found.iter().filter(|topic| topic.code == ErrorCode::NONE) {
            if let Err(error) = self.insert(&topic.name, &topic.leaders) {
                tracing::warn!(target: "headwater::kafka", %error, "looking topics up again");
                continue;
            }
            self.accumulator.lead(&topic.name, &topic.leaders, PartitionQueue::follow);
        }
    }

    fn queue(&mut self, record: &ProducerRecord<'_>) -> Result<QueueId> {
        let number = match self.topics.find(record.topic) {
            Some(number) => number,
            None => self.look_up(record.topic)?,
        };
        if let Some(queue) = self.topics.queue(number, record, &self.accumulator) {
            return Ok(queue);
        }
        self.look_up(record.topic)?;
        self.topics.queue(number, record, &self.accumulator).ok_or_else(|| {
            let partition = record.partition.unwrap_or_default();
            let context = format!("sending to {}-{partition}", record.topic);
            KafkaClientError::new(ErrorClass::NotFound, context, "there is no such partition")
        })
    }

    fn end(&mut self, commits: bool, timeout: Duration) -> Result<()> {
        self.in_transaction = false;
        // A transaction that the coordinator does not know of cannot be ended, and need not be.
        if !self.accumulator.is_started() {
            return Ok(());
        }
        let context = if commits { "committing" } else { "aborting" };
        let deadline = Instant::now() + timeout;
        let next = self.coordinators.end(self.accumulator.producer(), commits, deadline);
        let next = next.map_err(|error| error::transactional(context, error))?;
        self.accumulator.identify(next);
        Ok(())
    }

    /// Sets how large a batch a topic takes (`max.message.bytes`), so that records which the topic
    /// takes one by one are not refused together.
    pub fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        self.bytes_max.insert(Arc::clone(topic), bytes_max);
        self.accumulator.limit_batches(topic, bytes_max);
    }

    /// Fences older producers with the same transactional id and aborts their transactions.
    ///
    /// # Errors
    /// No coordinator answers within `timeout`, or it refuses.
    pub fn init(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let transaction_timeout = self.accumulator.settings.transaction_timeout;
        let producer = self.coordinators.init(transaction_timeout, deadline);
        let producer =
            producer.map_err(|error| error::plain("initializing transactions", error))?;
        self.accumulator.identify(producer);
        Ok(())
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// One is open already.
    pub fn begin(&mut self) -> Result<()> {
        if self.in_transaction {
            let context = "beginning a transaction";
            return Err(KafkaClientError::new(ErrorClass::Fatal, context, "one is open already"));
        }
        if self.refreshed.elapsed() >= REFRESH {
            self.refresh();
        }
        self.in_transaction = true;
        Ok(())
    }

    /// Sends a record, whose bytes are copied into a batch. Waits while too many bytes are in
    /// flight. Delivery errors may come later, from [`flush`](Self::flush).
    ///
    /// # Errors
    /// The partition does not exist, an earlier record was refused, or there is no space in time.
    pub fn send(&mut self, record: &ProducerRecord<'_>) -> Result<()> {
        if !self.in_transaction {
            let context = format!("sending to {}", record.topic);
            return Err(KafkaClientError::new(
                ErrorClass::Fatal,
                context,
                "no transaction is open",
            ));
        }
        let queue = self.queue(record)?;
        self.accumulator.append(queue, record, SPACE_TIMEOUT)
    }

    /// Waits until everything sent is acknowledged.
    ///
    /// # Errors
    /// A record was refused, or not acknowledged within `timeout`.
    pub fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.accumulator.flush(timeout)
    }

    /// Adds offsets to the transaction, fenced by the group's generation.
    ///
    /// # Errors
    /// The coordinator of the group refuses them, or does not answer within `timeout`.
    pub fn send_offsets(
        &mut self,
        offsets: &[OffsetToCommit<'_>],
        group: &ConsumerGroupMetadata<'_>,
        timeout: Duration,
    ) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for OffsetToCommit { topic, partition, offset, metadata } in offsets {
            topics.entry(topic).or_default().push((*partition, *offset, *metadata));
        }
        let topics: Vec<TopicOffsets<'_>> = topics.into_iter().collect();
        let request = TxnOffsetCommit {
            transactional_id: &self.accumulator.settings.transactional_id,
            producer: self.accumulator.producer(),
            group_id: group.group_id,
            generation: group.generation,
            member_id: group.member_id,
            group_instance_id: group.group_instance_id,
            topics: &topics,
        };
        self.accumulator.start();
        let added = self.coordinators.add_offsets(&request, Instant::now() + timeout);
        added.map_err(|error| error::transactional("adding offsets to the transaction", error))
    }

    /// Flushes and commits.
    ///
    /// # Errors
    /// Without a response within `timeout` the outcome is not known.
    pub fn commit(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        self.flush(timeout)?;
        self.end(true, deadline.saturating_duration_since(Instant::now()))
    }

    /// Drops what is in flight and aborts.
    ///
    /// # Errors
    /// Without a response within `timeout` the outcome is not known.
    pub fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.accumulator.abandon();
        self.end(false, timeout)
    }

    /// Makes [`last_offset`](Self::last_offset) report the offsets of what is sent to `partition`
    /// from now on.
    pub fn track(&mut self, partition: &PartitionId) {
        self.topics.track(partition);
    }

    /// The offset of the last acknowledged record that was sent to a [tracked](Self::track)
    /// partition.
    pub fn last_offset(&self, partition: &PartitionId) -> Option<i64> {
        self.accumulator.last_offset(self.topics.tracked(partition)?)
    }

    /// Bytes that were sent and are not acknowledged.
    pub fn in_flight_bytes(&self) -> usize {
        self.accumulator.bytes()
    }
}

impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        // What is in flight belongs to a transaction that is never committed.
        self.accumulator.close();
    }
}

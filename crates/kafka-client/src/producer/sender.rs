//! The thread that sends to one broker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::accumulator::{
    Accumulator, BatchOutcome, DrainedBatch, DrainedBatches, TransactionFailure,
};
use super::partition_queue::PartitionQueue;
use crate::cluster::{ATTEMPT, KafkaCluster, MISSING};
use crate::connection::{Connection, RequestError};
use crate::error::{ErrorClass, delivery_class};
use crate::protocol::ErrorCode;
use crate::records::{Compressor, EncodedBatch};
use crate::requests::{ProducePartition, ProducePartitionResponse, ProduceRequest};
use crate::{Result, thread};

/// What became of a request.
type Responses = std::result::Result<Vec<ProducePartitionResponse>, RequestError>;

/// Senders by the ids of their brokers, started when a partition turns out to be led by one.
pub(super) struct Senders {
    accumulator: Arc<Accumulator>,
    cluster: Arc<KafkaCluster>,
    running: Mutex<BTreeSet<i32>>,
}

struct Sender {
    broker: i32,
    senders: Arc<Senders>,
    connection: Option<Connection>,
    compressor: Compressor,
}

impl Senders {
    pub(super) fn new(accumulator: Arc<Accumulator>, cluster: Arc<KafkaCluster>) -> Self {
        Self { accumulator, cluster, running: Mutex::default() }
    }

    /// Starts a sender for each of `brokers` that has none.
    pub(super) fn start(self: &Arc<Self>, brokers: impl IntoIterator<Item = i32>) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for broker in brokers.into_iter().filter(|broker| *broker >= 0) {
            if running.contains(&broker) {
                continue;
            }
            let mut sender = Sender {
                broker,
                senders: Arc::clone(self),
                connection: None,
                compressor: Compressor::new(self.accumulator.settings.compression),
            };
            let broken = Arc::clone(&self.accumulator);
            let name = format!("headwater-send-{broker}");
            let failed = move |why| broken.break_off(why);
            thread::spawn(name, move || sender.run(), failed)?;
            running.insert(broker);
        }
        Ok(())
    }
}

impl DrainedBatch {
    fn to_send(&self) -> ProducePartition<'_> {
        ProducePartition {
            topic: &self.topic,
            partition: self.partition,
            sequence: self.sequence,
            records: &self.batch.records,
        }
    }
}

impl Sender {
    fn run(&mut self) {
        let senders = Arc::clone(&self.senders);
        while let Some(drained) = senders.accumulator.drain(self.broker) {
            self.send(drained);
        }
    }

    fn send(&mut self, drained: DrainedBatches) {
        let responses = self.request(&drained);
        let senders = Arc::clone(&self.senders);
        let mut moved = BTreeSet::new();
        let outcome = |one: DrainedBatch| {
            let result = PartitionResult::of(&responses, &one.topic, one.partition);
            if result.may_have_moved() {
                moved.insert(Arc::clone(&one.topic));
            }
            let outcome = self.outcome_of(result, &one);
            (one.queue, one.batch, outcome)
        };
        let outcomes: Vec<_> = drained.batches.into_iter().map(outcome).collect();
        if !moved.is_empty() {
            // Before the batches are free again: they go to the new leader.
            self.find_leaders(&moved.into_iter().collect::<Vec<_>>());
        }
        senders.accumulator.complete(drained.generation, outcomes);
    }

    fn request(&mut self, drained: &DrainedBatches) -> Responses {
        let deadline = Instant::now() + self.timeout();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.senders.cluster.broker(self.broker, deadline)?,
        };
        let mut batches: Vec<_> = drained.batches.iter().map(DrainedBatch::to_send).collect();
        batches.sort_unstable_by_key(|one| (one.topic, one.partition));
        let request = ProduceRequest {
            transactional_id: &self.senders.accumulator.settings.transactional_id,
            producer: drained.producer,
            batches: &batches,
            timeout: self.timeout(),
        };
        let responses = request.call(&mut connection, &mut self.compressor, deadline);
        if let Err(error) = &responses
            && error.keeps_connection()
        {
            self.connection = Some(connection);
            return responses;
        }
        let responses = responses?;
        // Addresses are given to others: this may be another broker than it is taken for.
        let is_right = responses.iter().all(|response| !response.code.is_stale_leader());
        self.connection = is_right.then_some(connection);
        Ok(responses)
    }

    fn timeout(&self) -> Duration {
        ATTEMPT.min(self.senders.accumulator.settings.transaction_timeout)
    }

    fn outcome_of(&self, result: PartitionResult, drained: &DrainedBatch) -> BatchOutcome {
        let batch = &drained.batch;
        let settings = &self.senders.accumulator.settings;
        let (class, why) = match result {
            PartitionResult::Done(offset) => return BatchOutcome::Done(offset),
            PartitionResult::Refused(class, why) => (class, why),
            PartitionResult::Retriable(code, why) => {
                let timeout = match code {
                    Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => MISSING,
                    _ => settings.transaction_timeout.max(ATTEMPT * 2),
                };
                if batch.since.elapsed() < timeout {
                    let backoff = settings.backoff.saturating_mul(1 << batch.attempts.min(10));
                    return BatchOutcome::Retry(backoff.min(settings.backoff_max));
                }
                (code.map_or(ErrorClass::Abortable, delivery_class), why)
            }
        };
        let EncodedBatch { count, bytes, .. } = &batch.records;
        let bytes = bytes.len();
        let DrainedBatch { topic, partition, .. } = drained;
        let context = format!("delivery of {count} records, {bytes} bytes, to {topic}-{partition}");
        BatchOutcome::Failed(TransactionFailure { class, context, cause: why })
    }

    /// Finds the leaders of `topics`. If no broker knows them, this sender goes on.
    fn find_leaders(&self, topics: &[Arc<str>]) {
        let Senders { accumulator, cluster, .. } = &*self.senders;
        cluster.avoid_current();
        let Ok(found) = cluster.topics(topics, Instant::now() + ATTEMPT) else { return };
        for topic in found.iter().filter(|topic| topic.code == ErrorCode::NONE) {
            if let Err(error) = self.senders.start(topic.leaders.iter().map(|leader| leader.broker))
            {
                tracing::warn!(target: "headwater::kafka", %error, "finding leaders");
                return;
            }
            accumulator.lead(&topic.name, &topic.leaders, PartitionQueue::lead);
        }
    }
}

/// What the broker says of a batch.
enum PartitionResult {
    Done(i64),
    /// Nothing was written, or that is not known; it is sent again with the same number.
    Retriable(Option<ErrorCode>, String),
    Refused(ErrorClass, String),
}

impl PartitionResult {
    fn of(responses: &Responses, topic: &str, partition: i32) -> Self {
        let responses = match responses {
            Ok(responses) => responses,
            Err(RequestError::Refused(code)) if !code.is_retriable() => {
                return Self::Refused(delivery_class(*code), code.to_string());
            }
            Err(error) if !error.is_retriable() => {
                return Self::Refused(ErrorClass::Refused, error.to_string());
            }
            Err(error) => return Self::Retriable(None, error.to_string()),
        };
        let is_it =
            |one: &&ProducePartitionResponse| one.partition == partition && *one.topic == *topic;
        let Some(response) = responses.iter().find(is_it) else {
            return Self::Retriable(None, "not mentioned in the broker's response".to_owned());
        };
        let why = || match &response.message {
            Some(message) => format!("{}: {message}", response.code),
            None => response.code.to_string(),
        };
        match response.code {
            ErrorCode::NONE => Self::Done(response.base_offset),
            // It was sent again although the log had it.
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Self::Done(-1),
            code if code.is_retriable() => Self::Retriable(Some(code), why()),
            code => Self::Refused(delivery_class(code), why()),
        }
    }

    /// Whether another broker may lead the partition now.
    fn may_have_moved(&self) -> bool {
        match self {
            // A leader without followers waits for them in vain, as one does that is cut off.
            Self::Retriable(Some(ErrorCode::REQUEST_TIMED_OUT), _) => true,
            Self::Retriable(code, _) => code.is_none_or(|code| code.is_stale_leader()),
            _ => false,
        }
    }
}

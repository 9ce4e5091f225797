//! The thread that sends to one broker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, TransportError};

use super::error;
use super::lane::{Batch, Lane};
use super::outbox::{Failure, LaneId, Outbox, Outcome, Parcel};
use crate::cluster::{ATTEMPT, Cluster, MISSING};
use crate::threads;
use crate::wire::{Code, Compressor, Connection, PartitionAnswer, Produce, RecordBatch, WireError};

/// Senders by the numbers of their brokers, made when a partition is found to be led by one.
pub(super) struct Senders {
    outbox: Arc<Outbox>,
    cluster: Arc<Cluster>,
    running: Mutex<BTreeSet<i32>>,
}

struct Sender {
    broker: i32,
    senders: Arc<Senders>,
    connection: Option<Connection>,
    compressor: Compressor,
}

impl Senders {
    pub(super) fn new(outbox: Arc<Outbox>, cluster: Arc<Cluster>) -> Self {
        Self { outbox, cluster, running: Mutex::default() }
    }

    /// Sees to it that each of `brokers` has its sender.
    pub(super) fn start(
        self: &Arc<Self>,
        brokers: impl IntoIterator<Item = i32>,
    ) -> Result<(), TransportError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for broker in brokers.into_iter().filter(|broker| *broker >= 0) {
            if running.contains(&broker) {
                continue;
            }
            let mut sender = Sender {
                broker,
                senders: Arc::clone(self),
                connection: None,
                compressor: Compressor::new(self.outbox.settings.compression),
            };
            let broken = Arc::clone(&self.outbox);
            let (name, failed) =
                (format!("headwater-send-{broker}"), move |why| broken.break_off(why));
            threads::spawn(name, move || sender.run(), failed)?;
            running.insert(broker);
        }
        Ok(())
    }
}

impl Sender {
    fn run(&mut self) {
        let senders = Arc::clone(&self.senders);
        while let Some(parcel) = senders.outbox.take(self.broker) {
            self.send(parcel);
        }
    }

    fn send(&mut self, parcel: Parcel) {
        let answers = self.request(&parcel);
        let senders = Arc::clone(&self.senders);
        let mut moved = BTreeSet::new();
        let (generation, places) = (parcel.generation, self.places(&parcel));
        let outcomes: Vec<_> = (parcel.batches.into_iter().zip(places))
            .map(|((lane, _, batch), (topic, partition))| {
                let verdict = Verdict::of(&answers, &topic, partition);
                if verdict.is_moved() {
                    moved.insert(Arc::clone(&topic));
                }
                let outcome = self.judge(verdict, &batch, &topic, partition);
                (lane, batch, outcome)
            })
            .collect();
        if !moved.is_empty() {
            // Before the batches are free again: they go to the new leader.
            self.find_leaders(&moved.into_iter().collect::<Vec<_>>());
        }
        senders.outbox.settle(generation, outcomes);
    }

    fn places(&self, parcel: &Parcel) -> Vec<(Arc<str>, i32)> {
        let place = |(lane, ..): &(LaneId, i32, Batch)| self.senders.outbox.place(*lane);
        parcel.batches.iter().map(place).collect()
    }

    fn request(&mut self, parcel: &Parcel) -> Result<Vec<PartitionAnswer>, WireError> {
        let deadline = Instant::now() + self.timeout();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.senders.cluster.broker(self.broker, deadline)?,
        };
        let places = self.places(parcel);
        let mut batches: Vec<_> = (parcel.batches.iter().zip(&places))
            .map(|((_, sequence, batch), (topic, partition))| {
                (&**topic, *partition, *sequence, &batch.records)
            })
            .collect();
        batches.sort_unstable_by_key(|(topic, partition, ..)| (*topic, *partition));
        let request = Produce {
            transactional_id: &self.senders.outbox.settings.transactional_id,
            identity: parcel.identity,
            batches: &batches,
            timeout: self.timeout(),
        };
        let answers = request.call(&mut connection, &mut self.compressor, deadline)?;
        // Addresses are given away: this may be another broker than it is taken for.
        let is_right = answers.iter().all(|answer| !answer.code.is_of_another_broker());
        self.connection = is_right.then_some(connection);
        Ok(answers)
    }

    fn timeout(&self) -> Duration {
        ATTEMPT.min(self.senders.outbox.settings.transaction_timeout)
    }

    fn judge(&self, verdict: Verdict, batch: &Batch, topic: &str, partition: i32) -> Outcome {
        let settings = &self.senders.outbox.settings;
        let (kind, why) = match verdict {
            Verdict::Done(offset) => return Outcome::Done(offset),
            Verdict::Refused(kind, why) => (kind, why),
            Verdict::Passing(code, why) => {
                let patience = match code {
                    Some(Code::UNKNOWN_TOPIC_OR_PARTITION) => MISSING,
                    _ => settings.transaction_timeout.max(ATTEMPT * 2),
                };
                if batch.since.elapsed() < patience {
                    let backoff = settings.backoff.saturating_mul(1 << batch.attempts.min(10));
                    return Outcome::Again(backoff.min(settings.backoff_max));
                }
                (code.map_or(ErrorKind::Abortable, error::delivery_kind), why)
            }
        };
        let RecordBatch { count, bytes, .. } = &batch.records;
        let bytes = bytes.len();
        let context = format!("delivery of {count} records, {bytes} bytes, to {topic}-{partition}");
        Outcome::Failed(Failure { kind, context, cause: why })
    }

    /// Asks who leads `topics` now. If nobody knows, this sender stays in charge.
    fn find_leaders(&self, topics: &[Arc<str>]) {
        let Senders { outbox, cluster, .. } = &*self.senders;
        cluster.ask_another();
        let Ok(found) = cluster.topics(topics, Instant::now() + ATTEMPT) else { return };
        for topic in found.iter().filter(|topic| topic.code == Code::NONE) {
            if let Err(error) = self.senders.start(topic.leaders.iter().map(|leader| leader.broker))
            {
                tracing::warn!(target: "headwater::kafka", %error, "finding leaders");
                return;
            }
            outbox.lead(&topic.name, &topic.leaders, Lane::lead);
        }
    }
}

/// What the broker says of a batch.
enum Verdict {
    Done(i64),
    /// Nothing was written, or nobody knows; it is sent again with the same number.
    Passing(Option<Code>, String),
    Refused(ErrorKind, String),
}

impl Verdict {
    fn of(answers: &Result<Vec<PartitionAnswer>, WireError>, topic: &str, partition: i32) -> Self {
        let answers = match answers {
            Ok(answers) => answers,
            Err(WireError::Refused(code)) if !code.is_passing() => {
                return Self::Refused(error::delivery_kind(*code), code.to_string());
            }
            Err(error) if !error.is_passing() => {
                return Self::Refused(ErrorKind::Refused, error.to_string());
            }
            Err(error) => return Self::Passing(None, error.to_string()),
        };
        let is_it = |one: &&PartitionAnswer| one.partition == partition && *one.topic == *topic;
        let Some(answer) = answers.iter().find(is_it) else {
            return Self::Passing(None, "not mentioned in the broker's answer".to_owned());
        };
        let why = || match &answer.message {
            Some(message) => format!("{}: {message}", answer.code),
            None => answer.code.to_string(),
        };
        match answer.code {
            Code::NONE => Self::Done(answer.offset),
            // It was sent again although it was there.
            Code::DUPLICATE_SEQUENCE_NUMBER => Self::Done(-1),
            code if code.is_passing() => Self::Passing(Some(code), why()),
            code => Self::Refused(error::delivery_kind(code), why()),
        }
    }

    /// Whether the leader may be somebody else.
    fn is_moved(&self) -> bool {
        match self {
            // A leader without followers waits for them in vain, as one does that is cut off.
            Self::Passing(Some(Code::REQUEST_TIMED_OUT), _) => true,
            Self::Passing(code, _) => code.is_none_or(|code| code.is_of_another_broker()),
            _ => false,
        }
    }
}

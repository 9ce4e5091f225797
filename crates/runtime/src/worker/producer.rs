//! A worker's producer, its transaction, and what an error of it means.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use streams_core::{Effect, Effects, TopicPartition};

use crate::clock::Clock;
use crate::error::AppError;
use crate::topics::SinkLimits;
use crate::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, ProducerConfig, Transport,
    TransportError,
};

/// Why a worker's work in hand is lost.
#[derive(Debug)]
pub(crate) enum WorkerError {
    /// Back to the last commit and again: an ordinary event.
    Rewind {
        /// What becomes of the producer.
        health: ProducerHealth,
        /// Why.
        reason: String,
    },
    /// The application cannot go on.
    Fatal(AppError),
}

/// What becomes of a producer whose work is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProducerHealth {
    /// Its transaction is aborted, and it goes on.
    Usable,
    /// What it asked for last may still happen: it is given up.
    Uncertain,
    /// Somebody else has its identity.
    Fenced,
}

impl ProducerHealth {
    fn after(error: &TransportError) -> Self {
        match error.kind() {
            ErrorKind::Abortable => Self::Usable,
            ErrorKind::Fenced => Self::Fenced,
            _ => Self::Uncertain,
        }
    }
}

impl From<TransportError> for WorkerError {
    fn from(error: TransportError) -> Self {
        let reason = error.to_string();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Refused => {
                Self::Fatal(error.into())
            }
            // Also what should have been retriable, once it is certain that it will not be tried
            // again.
            _ => Self::Rewind { health: ProducerHealth::after(&error), reason },
        }
    }
}

pub(crate) struct WorkerProducer {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    config: ProducerConfig,
    limits: Arc<SinkLimits>,
    /// Of how many topics the producer knows what they take.
    limits_announced: usize,
    timeout: Duration,
    /// `None` after it was retired, until the next one is there.
    producer: Option<Box<dyn Producer>>,
    in_transaction: bool,
    tracked: BTreeSet<TopicPartition>,
    fenced_at: VecDeque<Duration>,
}

/// So many fenced producers within a minute mean that another process has the same identity.
const FENCED_MAX: usize = 12;

impl WorkerProducer {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        config: ProducerConfig,
        limits: Arc<SinkLimits>,
        timeout: Duration,
    ) -> Self {
        Self {
            transport,
            clock,
            config,
            limits,
            limits_announced: 0,
            timeout,
            producer: None,
            in_transaction: false,
            tracked: BTreeSet::new(),
            fenced_at: VecDeque::new(),
        }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.config.transactional_id.is_some()
    }

    /// Makes the producer if there is none. That ends a transaction which an earlier one with this
    /// identity left open, so it is also the first thing a worker does: its own restore would
    /// wait for that transaction.
    pub(crate) fn ensure(&mut self) -> Result<(), TransportError> {
        if self.producer.is_some() {
            return Ok(());
        }
        let mut producer = self.transport.producer(&self.config)?;
        self.limits_announced = 0;
        limit(&mut *producer, &self.limits, &mut self.limits_announced);
        producer.init(self.timeout)?;
        for partition in &self.tracked {
            producer.track(partition);
        }
        self.producer = Some(producer);
        self.in_transaction = false;
        Ok(())
    }

    fn ready(&mut self) -> Result<&mut Box<dyn Producer>, TransportError> {
        self.ensure()?;
        self.producer
            .as_mut()
            .ok_or_else(|| TransportError::new(ErrorKind::Fatal, "the producer", "there is none"))
    }

    /// The producer, inside a transaction if it is transactional.
    fn open(&mut self) -> Result<&mut Box<dyn Producer>, TransportError> {
        if self.is_transactional() && !self.in_transaction {
            self.ready()?.begin()?;
            self.in_transaction = true;
        }
        self.ready()
    }

    /// Asks for the offsets of what is sent to a changelog.
    pub(crate) fn track(&mut self, partition: &TopicPartition) {
        if !self.tracked.insert(partition.clone()) {
            return;
        }
        if let Some(producer) = &mut self.producer {
            producer.track(partition);
        }
    }

    pub(crate) fn send_all(&mut self, effects: &Effects) -> Result<(), TransportError> {
        self.open()?;
        let Self { producer, limits, limits_announced, .. } = self;
        let Some(producer) = producer else { return Ok(()) };
        // The tasks may have met topics that nobody knew of at the start.
        limit(&mut **producer, limits, limits_announced);
        let send = |effect: Effect<'_>| {
            producer.send(&Outgoing {
                topic: effect.topic,
                partition: effect.partition,
                key: effect.key,
                value: effect.value,
                timestamp: effect.timestamp,
                headers: effect.headers,
            })
        };
        effects.iter().try_for_each(send).map_err(|error| with_changed_limits(error, limits))
    }

    /// Waits until everything is acknowledged; a commit of offsets alone begins its transaction
    /// here.
    pub(crate) fn flush(&mut self) -> Result<(), TransportError> {
        let timeout = self.timeout;
        let flushed = self.open()?.flush(timeout);
        flushed.map_err(|error| with_changed_limits(error, &self.limits))
    }

    pub(crate) fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
    ) -> Result<(), TransportError> {
        let timeout = self.timeout;
        self.open()?.send_offsets(offsets, group, timeout)
    }

    pub(crate) fn commit(&mut self) -> Result<(), TransportError> {
        let timeout = self.timeout;
        let committed = self.ready()?.commit(timeout);
        committed.map_err(|error| with_changed_limits(error, &self.limits))?;
        self.in_transaction = false;
        Ok(())
    }

    /// The changelog offset behind the last record that was acknowledged.
    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        Some(self.producer.as_ref()?.last_offset(partition)? + 1)
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.producer.as_ref().map_or(0, |producer| producer.in_flight_bytes())
    }

    /// Ends what is in hand: by an abort, or, if the producer can no longer be trusted, by giving
    /// it up for a new one. A commit that timed out may still arrive at the broker, and would
    /// then end the *next* transaction of the same producer: only a new one, whose `init`
    /// fences the old, is safe from it.
    pub(crate) fn end_transaction(&mut self, health: ProducerHealth) -> Result<(), AppError> {
        let health = if health == ProducerHealth::Usable { self.abort() } else { health };
        if health == ProducerHealth::Usable {
            return Ok(());
        }
        self.in_transaction = false;
        let was_there = self.producer.take().is_some();
        if was_there && health == ProducerHealth::Fenced { self.count_fencing() } else { Ok(()) }
    }

    fn abort(&mut self) -> ProducerHealth {
        let Some(producer) = self.producer.as_mut().filter(|_| self.in_transaction) else {
            return ProducerHealth::Usable;
        };
        match producer.abort(self.timeout) {
            Ok(()) => {
                self.in_transaction = false;
                ProducerHealth::Usable
            }
            Err(error) => {
                tracing::warn!(%error, "the abort failed, the producer is retired");
                let is_fenced = error.kind() == ErrorKind::Fenced;
                if is_fenced { ProducerHealth::Fenced } else { ProducerHealth::Uncertain }
            }
        }
    }

    fn count_fencing(&mut self) -> Result<(), AppError> {
        let now = self.clock.monotonic();
        self.fenced_at.push_back(now);
        while self.fenced_at.front().is_some_and(|at| now - *at > Duration::from_secs(60)) {
            self.fenced_at.pop_front();
        }
        match &self.config.transactional_id {
            Some(id) if self.fenced_at.len() > FENCED_MAX => Err(AppError::Fenced {
                transactional_id: Arc::clone(id),
                times: self.fenced_at.len(),
            }),
            _ => Ok(()),
        }
    }
}

/// Tells a producer what topics take that it does not know of.
fn limit(producer: &mut dyn Producer, limits: &SinkLimits, limits_announced: &mut usize) {
    for info in limits.since(*limits_announced) {
        let bytes_max = usize::try_from(info.max_message_bytes).unwrap_or(0);
        producer.limit_batches(&info.name, bytes_max);
        *limits_announced += 1;
    }
}

/// Records are checked against what topics took when they became known. If the log refuses one all
/// the same, that has changed, and a restart will know it.
fn with_changed_limits(error: TransportError, limits: &SinkLimits) -> TransportError {
    if error.kind() != ErrorKind::Refused {
        return error;
    }
    let changes = limits.changes();
    if changes.is_empty() {
        return error;
    }
    let why = format!("what topics take has changed: {changes}; a restart goes by what it is now");
    TransportError::new(ErrorKind::Refused, error.to_string(), why)
}

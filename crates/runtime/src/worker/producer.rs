//! A worker's producer and its transaction.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use streams_core::{Effect, Effects, TopicPartition};

use super::error::ProducerHealth;
use crate::clock::Clock;
use crate::error::AppError;
use crate::topics::SinkLimits;
use crate::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, ProducerConfig, Transport,
    TransportError,
};

/// The producer of a worker, opened when it is needed and replaced when it cannot be used again.
pub(crate) struct WorkerProducer {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    config: ProducerConfig,
    limits: Arc<SinkLimits>,
    /// How long a request may take.
    timeout: Duration,
    state: ProducerState,
    /// Changelogs whose offsets are asked for, also of the next producer.
    tracked: BTreeSet<TopicPartition>,
    /// When producers were fenced, within the last minute.
    fenced_at: VecDeque<Duration>,
}

/// Whether there is a producer, and whether its transaction is open.
enum ProducerState {
    /// None was opened yet, or the last one was given up.
    Absent,
    /// No transaction is open. Without a transactional id that is always so.
    Idle(OpenProducer),
    /// A transaction is open.
    InTransaction(OpenProducer),
}

struct OpenProducer {
    client: Box<dyn Producer>,
    /// How many topics it knows the limits of.
    limits_announced: usize,
}

/// More fenced producers than this within [`FENCED_WITHIN`] mean that another process has the same
/// identity.
const FENCED_MAX: usize = 12;
const FENCED_WITHIN: Duration = Duration::from_secs(60);

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
            timeout,
            state: ProducerState::Absent,
            tracked: BTreeSet::new(),
            fenced_at: VecDeque::new(),
        }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.config.transactional_id.is_some()
    }

    /// Opens the producer if there is none. That ends a transaction which an earlier one with this
    /// identity left open, so it is also the first thing a worker does: its own restore would wait
    /// for that transaction.
    pub(crate) fn ensure_open(&mut self) -> Result<(), TransportError> {
        if !matches!(self.state, ProducerState::Absent) {
            return Ok(());
        }
        let client = self.transport.producer(&self.config)?;
        let mut producer = OpenProducer { client, limits_announced: 0 };
        // Before `init`: afterwards only topics without records may get a limit.
        producer.announce_limits(&self.limits);
        producer.client.init(self.timeout)?;
        for partition in &self.tracked {
            producer.client.track(partition);
        }
        self.state = ProducerState::Idle(producer);
        Ok(())
    }

    /// The producer, inside a transaction if it is transactional.
    fn in_transaction(&mut self) -> Result<&mut OpenProducer, TransportError> {
        self.ensure_open()?;
        if self.is_transactional() {
            self.state.begin()?;
        }
        self.state.producer_mut()
    }

    /// Asks for the offsets of what is sent to a changelog.
    pub(crate) fn track(&mut self, partition: &TopicPartition) {
        if !self.tracked.insert(partition.clone()) {
            return;
        }
        if let Ok(producer) = self.state.producer_mut() {
            producer.client.track(partition);
        }
    }

    pub(crate) fn send_all(&mut self, effects: &Effects) -> Result<(), TransportError> {
        let limits = Arc::clone(&self.limits);
        let producer = self.in_transaction()?;
        // Tasks may have sent to topics that were not known at the start.
        producer.announce_limits(&limits);
        let send = |effect: Effect<'_>| {
            producer.client.send(&Outgoing {
                topic: effect.topic,
                partition: effect.partition,
                key: effect.key,
                value: effect.value,
                timestamp: effect.timestamp,
                headers: effect.headers,
            })
        };
        effects.iter().try_for_each(send).map_err(|error| with_changed_limits(error, &limits))
    }

    /// Waits until everything is acknowledged. A commit of offsets alone begins its transaction
    /// here.
    pub(crate) fn flush(&mut self) -> Result<(), TransportError> {
        let timeout = self.timeout;
        let flushed = self.in_transaction()?.client.flush(timeout);
        flushed.map_err(|error| with_changed_limits(error, &self.limits))
    }

    pub(crate) fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
    ) -> Result<(), TransportError> {
        let timeout = self.timeout;
        self.in_transaction()?.client.send_offsets(offsets, group, timeout)
    }

    pub(crate) fn commit(&mut self) -> Result<(), TransportError> {
        let timeout = self.timeout;
        let committed = self.state.producer_mut()?.client.commit(timeout);
        committed.map_err(|error| with_changed_limits(error, &self.limits))?;
        self.state.end_transaction();
        Ok(())
    }

    /// The changelog offset after the last record that was acknowledged.
    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        Some(self.state.producer()?.client.last_offset(partition)? + 1)
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.state.producer().map_or(0, |producer| producer.client.in_flight_bytes())
    }

    /// Drops the uncommitted work: aborts the transaction or, if the producer cannot be trusted any
    /// more, gives the producer up. A commit that timed out may still arrive at the broker, and
    /// would then end the *next* transaction of the same producer. Only a new producer is safe from
    /// it, because its `init` fences the old one.
    pub(crate) fn abort_or_retire(&mut self, health: ProducerHealth) -> Result<(), AppError> {
        let health = if health == ProducerHealth::Usable { self.abort() } else { health };
        if health == ProducerHealth::Usable {
            return Ok(());
        }
        let retired = mem::replace(&mut self.state, ProducerState::Absent);
        let is_new = !matches!(retired, ProducerState::Absent);
        if is_new && health == ProducerHealth::Fenced { self.count_fencing() } else { Ok(()) }
    }

    /// Aborts the transaction, if one is open. Says whether the producer can be used again.
    fn abort(&mut self) -> ProducerHealth {
        let ProducerState::InTransaction(producer) = &mut self.state else {
            return ProducerHealth::Usable;
        };
        match producer.client.abort(self.timeout) {
            Ok(()) => {
                self.state.end_transaction();
                ProducerHealth::Usable
            }
            Err(error) => {
                tracing::warn!(%error, "the transaction was not aborted; replacing the producer");
                let is_fenced = error.kind() == ErrorKind::Fenced;
                if is_fenced { ProducerHealth::Fenced } else { ProducerHealth::Uncertain }
            }
        }
    }

    fn count_fencing(&mut self) -> Result<(), AppError> {
        let now = self.clock.monotonic();
        self.fenced_at.push_back(now);
        while self.fenced_at.front().is_some_and(|at| now - *at > FENCED_WITHIN) {
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

impl ProducerState {
    fn producer(&self) -> Option<&OpenProducer> {
        match self {
            Self::Absent => None,
            Self::Idle(producer) | Self::InTransaction(producer) => Some(producer),
        }
    }

    fn producer_mut(&mut self) -> Result<&mut OpenProducer, TransportError> {
        match self {
            Self::Absent => {
                Err(TransportError::new(ErrorKind::Fatal, "the producer", "it was given up"))
            }
            Self::Idle(producer) | Self::InTransaction(producer) => Ok(producer),
        }
    }

    /// Begins a transaction unless one is open.
    fn begin(&mut self) -> Result<(), TransportError> {
        if let Self::Idle(producer) = self {
            producer.client.begin()?;
            *self = match mem::replace(self, Self::Absent) {
                Self::Idle(producer) => Self::InTransaction(producer),
                other => other,
            };
        }
        Ok(())
    }

    /// The transaction was committed or aborted.
    fn end_transaction(&mut self) {
        *self = match mem::replace(self, Self::Absent) {
            Self::InTransaction(producer) => Self::Idle(producer),
            other => other,
        };
    }
}

impl OpenProducer {
    /// Tells the producer the limits of topics that it does not know of.
    fn announce_limits(&mut self, limits: &SinkLimits) {
        for info in limits.since(self.limits_announced) {
            let bytes_max = usize::try_from(info.max_message_bytes).unwrap_or(0);
            self.client.limit_batches(&info.name, bytes_max);
            self.limits_announced += 1;
        }
    }
}

/// Records are checked against the limits that topics had when they became known. If the log
/// refuses one nevertheless, a limit has changed, and a restart will know the new one.
fn with_changed_limits(error: TransportError, limits: &SinkLimits) -> TransportError {
    if error.kind() != ErrorKind::Refused {
        return error;
    }
    let changes = limits.changes();
    if changes.is_empty() {
        return error;
    }
    let cause =
        format!("the limits of topics have changed: {changes}. Restart to use the new ones");
    TransportError::new(ErrorKind::Refused, error.to_string(), cause)
}

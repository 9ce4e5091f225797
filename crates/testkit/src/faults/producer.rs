//! A producer with faults.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use runtime::transport::{ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, Result};
use streams_core::TopicPartition;

use super::{Fault, Faults, Transaction, TransportCall, Witness, injected};
use crate::lock::lock;

pub(super) struct FaultyProducer {
    /// Shared with requests that are still in flight.
    inner: Arc<Mutex<InnerProducer>>,
    faults: Faults,
    /// Makes the second copy of an init request.
    again: Again,
}

/// Makes another producer with the same identity.
type Again = Arc<dyn Fn() -> Result<Box<dyn Producer>> + Send + Sync>;

struct InnerProducer {
    producer: Box<dyn Producer>,
    witness: Option<Witness>,
    /// The part of the open transaction that the log has.
    transaction: Transaction,
}

impl InnerProducer {
    fn commit(&mut self, timeout: Duration) -> Result<()> {
        let committed = self.producer.commit(timeout);
        if let Some(witness) = &self.witness {
            witness.said(&committed);
            if committed.is_ok() {
                witness.accepted(&self.transaction);
            }
        }
        committed
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        let sent = self.producer.send_offsets(offsets, group, timeout);
        if let Some(witness) = &self.witness {
            witness.said(&sent);
            if sent.is_ok() {
                witness.sent(&mut self.transaction, offsets);
            }
        }
        sent
    }
}

impl FaultyProducer {
    pub(super) fn new(producer: Box<dyn Producer>, again: Again, faults: Faults) -> Self {
        let witness = faults.witness();
        let inner = InnerProducer { producer, witness, transaction: Transaction::default() };
        Self { inner: Arc::new(Mutex::new(inner)), faults, again }
    }

    fn inner(&self) -> MutexGuard<'_, InnerProducer> {
        lock(&self.inner)
    }

    /// The commit arrives when it is released, and ends the transaction that is open by then.
    fn hold_commit(&self, timeout: Duration) {
        let inner = Arc::clone(&self.inner);
        self.faults.hold(Box::new(move || drop(lock(&inner).commit(timeout))));
    }

    /// A second copy of the request arrives when it is released, and fences the producer that has
    /// the identity by then.
    fn hold_init(&self, timeout: Duration) {
        let again = Arc::clone(&self.again);
        let init = move || drop(again().and_then(|mut producer| producer.init(timeout)));
        self.faults.hold(Box::new(init));
    }
}

impl Producer for FaultyProducer {
    fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        self.inner().producer.limit_batches(topic, bytes_max);
    }

    fn init(&mut self, timeout: Duration) -> Result<()> {
        let mut fault = self.faults.meet(TransportCall::Init)?;
        if fault == Some(Fault::Repeated) {
            self.hold_init(timeout);
            fault = None;
        }
        self.faults.with(TransportCall::Init, fault, || self.inner().producer.init(timeout))
    }

    fn begin(&mut self) -> Result<()> {
        self.inner().transaction = Transaction::default();
        self.faults.call(TransportCall::Begin, || self.inner().producer.begin())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.inner().transaction.writes(record);
        self.faults.call(TransportCall::Send, || self.inner().producer.send(record))
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(TransportCall::Flush, || self.inner().producer.flush(timeout))
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        let send = || self.inner().send_offsets(offsets, group, timeout);
        self.faults.call(TransportCall::SendOffsets, send)
    }

    /// Sent records reach the log before a fault happens; otherwise an abort would have no effect
    /// to see.
    fn commit(&mut self, timeout: Duration) -> Result<()> {
        if self.faults.lives() {
            self.inner().producer.flush(timeout)?;
        }
        match self.faults.fault(TransportCall::Commit) {
            Some(Fault::Held) if self.faults.lives() => {
                self.hold_commit(timeout);
                return Err(injected(
                    TransportCall::Commit,
                    ErrorKind::Unknown,
                    "the request is delayed",
                ));
            }
            fault => {
                self.faults.with(TransportCall::Commit, fault, || self.inner().commit(timeout))?
            }
        }
        let inner = self.inner();
        if let Some(witness) = &inner.witness {
            witness.told(&inner.transaction);
        }
        Ok(())
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(TransportCall::Abort, || self.inner().producer.abort(timeout))
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.inner().producer.track(partition);
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.inner().producer.last_offset(partition)
    }

    fn in_flight_bytes(&self) -> usize {
        self.inner().producer.in_flight_bytes()
    }
}

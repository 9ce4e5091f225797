//! A producer with faults.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use runtime::transport::{ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, Result};
use streams_core::TopicPartition;

use super::{Call, Fault, Faults, injected};
use crate::lock::lock;

pub(super) struct FaultyProducer {
    /// Shared with requests that are still under way.
    producer: Arc<Mutex<Box<dyn Producer>>>,
    faults: Faults,
}

impl FaultyProducer {
    pub(super) fn new(producer: Box<dyn Producer>, faults: Faults) -> Self {
        Self { producer: Arc::new(Mutex::new(producer)), faults }
    }

    fn inner(&self) -> MutexGuard<'_, Box<dyn Producer>> {
        lock(&self.producer)
    }

    /// The commit arrives when it is released, and ends whatever transaction is open by then.
    fn hold_commit(&self, timeout: Duration) {
        let producer = Arc::clone(&self.producer);
        self.faults.hold(Box::new(move || drop(lock(&producer).commit(timeout))));
    }
}

impl Producer for FaultyProducer {
    fn init(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Init, || self.inner().init(timeout))
    }

    fn begin(&mut self) -> Result<()> {
        self.faults.call(Call::Begin, || self.inner().begin())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.faults.call(Call::Send, || self.inner().send(record))
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Flush, || self.inner().flush(timeout))
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        let send = || self.inner().send_offsets(offsets, group, timeout);
        self.faults.call(Call::SendOffsets, send)
    }

    /// What was sent has reached the log before a fault strikes: that is what makes an abort
    /// something to see.
    fn commit(&mut self, timeout: Duration) -> Result<()> {
        if self.faults.lives() {
            self.inner().flush(timeout)?;
        }
        match self.faults.fault(Call::Commit) {
            Some(Fault::Held) if self.faults.lives() => {
                self.hold_commit(timeout);
                Err(injected(Call::Commit, ErrorKind::Unknown, "the request is held up"))
            }
            fault => self.faults.with(Call::Commit, fault, || self.inner().commit(timeout)),
        }
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Abort, || self.inner().abort(timeout))
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.inner().track(partition);
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.inner().last_offset(partition)
    }
}

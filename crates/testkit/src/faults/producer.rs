//! A producer with faults.

use std::time::Duration;

use runtime::transport::{GroupMetadata, OffsetCommit, Outgoing, Producer, Result};
use streams_core::TopicPartition;

use super::{Call, Faults};

pub(super) struct FaultyProducer {
    pub(super) producer: Box<dyn Producer>,
    pub(super) faults: Faults,
}

impl Producer for FaultyProducer {
    fn init(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Init, || self.producer.init(timeout))
    }

    fn begin(&mut self) -> Result<()> {
        self.faults.call(Call::Begin, || self.producer.begin())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.faults.call(Call::Send, || self.producer.send(record))
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Flush, || self.producer.flush(timeout))
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        let send = || self.producer.send_offsets(offsets, group, timeout);
        self.faults.call(Call::SendOffsets, send)
    }

    /// What was sent has reached the log before a fault strikes: that is what makes an abort
    /// something to see.
    fn commit(&mut self, timeout: Duration) -> Result<()> {
        if self.faults.lives() {
            self.producer.flush(timeout)?;
        }
        self.faults.call(Call::Commit, || self.producer.commit(timeout))
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.faults.call(Call::Abort, || self.producer.abort(timeout))
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.producer.track(partition);
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.producer.last_offset(partition)
    }
}

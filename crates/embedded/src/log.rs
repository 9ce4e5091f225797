//! The log as its users see it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use redb::StorageBackend;
use runtime::transport::{
    Admin, Member, MemberConfig, Producer, ProducerConfig, Reader, ReaderConfig, Result, Transport,
};
use streams_core::Timestamp;

use crate::admin::EmbeddedAdmin;
use crate::clock::{LogClock, SystemLogClock};
use crate::damage::{Damaged, LeftOut, Verify};
use crate::disk::{Disk, DiskOptions};
use crate::member::EmbeddedMember;
use crate::producer::EmbeddedProducer;
use crate::reader::EmbeddedReader;
use crate::shared::SharedLog;
use crate::state::LogState;

/// A partitioned log inside this process; cheap to clone, all clones are the same log.
///
/// Several applications in one process that share it can form a consumer group. Another process
/// cannot open the same directory at the same time.
#[derive(Clone)]
pub struct EmbeddedLog(Arc<SharedLog>);

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    clock: Arc<dyn LogClock>,
    cache_bytes: usize,
    damaged: Damaged,
    verify: Verify,
}

impl Default for LogOptions {
    /// The system's clock, a cache of 128 MiB, verified when it is opened, and refused if it is
    /// damaged.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemLogClock::new()),
            cache_bytes: 128 << 20,
            damaged: Damaged::default(),
            verify: Verify::default(),
        }
    }
}

impl LogOptions {
    /// Runs the log on another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn LogClock>) -> Self {
        self.clock = clock;
        self
    }

    /// How much of a log on disk is kept in memory for those who read its end; older records are
    /// read from the disk. Records that wait for the disk may take half as much on top.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// What opening a damaged log does.
    #[must_use]
    pub fn damaged(mut self, damaged: Damaged) -> Self {
        self.damaged = damaged;
        self
    }

    /// When the log is verified.
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// A log that is gone when its last clone and the clients of it are.
    pub fn in_memory(self) -> EmbeddedLog {
        EmbeddedLog(Arc::new(SharedLog::new(
            LogState::default(),
            self.clock,
            None,
            self.cache_bytes,
        )))
    }

    /// Opens the log in a directory, or begins one there; the directory is made if it is missing.
    ///
    /// Whatever was left open by a process that died is aborted. A log of an earlier version is
    /// rewritten, which needs as much space again for that time.
    ///
    /// # Errors
    /// Another process has it open, it is damaged, or the disk fails.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<EmbeddedLog> {
        let opened = Disk::open(directory.as_ref(), self.opening())?;
        Ok(self.opened(opened))
    }

    /// Opens a log on a storage of your own, for tests that lose or tear writes.
    pub fn open_on(self, storage: impl StorageBackend) -> Result<EmbeddedLog> {
        let opened = Disk::open_on(storage, self.opening())?;
        Ok(self.opened(opened))
    }

    fn opening(&self) -> DiskOptions {
        let skip = self.damaged == Damaged::Skip;
        // What is to be left out must be known before anybody reads.
        let verify = skip || self.verify == Verify::WhenOpened;
        DiskOptions { cache_bytes: self.cache_bytes, verify, skip }
    }

    fn opened(self, (disk, state): (Disk, LogState)) -> EmbeddedLog {
        EmbeddedLog(Arc::new(SharedLog::new(state, self.clock, Some(disk), self.cache_bytes)))
    }
}

impl EmbeddedLog {
    /// A log that is gone when its last clone and the clients of it are.
    pub fn in_memory() -> Self {
        LogOptions::default().in_memory()
    }

    /// Opens the log in a directory, or begins one there. See [`LogOptions::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        LogOptions::default().open(directory)
    }

    /// What was damaged and left out when the log was opened with [`Damaged::Skip`]; nothing if it
    /// was whole.
    pub fn left_out(&self) -> &[LeftOut] {
        self.0.disk.as_ref().map_or(&[], Disk::left_out)
    }

    /// Compacts what is to be compacted and deletes what has expired, as if it were `now`. The log
    /// does this by itself from time to time, inside a commit.
    pub fn maintain(&self, now: Timestamp) -> Result<()> {
        self.0.maintain(now, true)
    }

    /// Gives a topic more partitions, `partitions` in all. Only in memory.
    ///
    /// # Errors
    /// There is no such topic, it has as many already, or the log is on disk.
    pub fn grow_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.0.lock().grow_topic(&topic.into(), partitions)?;
        self.0.notify_groups();
        Ok(())
    }

    /// Throws all members out of all groups, for tests: as if the coordinator had moved, or the
    /// broker had been started again, and they had not been heard of in time. They find out at
    /// their next poll, and join anew.
    pub fn forget_members(&self) {
        self.0.lock().forget_members();
        self.0.notify_groups();
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = self.0.lock().topics.len();
        f.debug_struct("EmbeddedLog").field("topics", &topics).finish_non_exhaustive()
    }
}

impl Transport for EmbeddedLog {
    fn admin(&self) -> Result<Box<dyn Admin>> {
        Ok(Box::new(EmbeddedAdmin::new(self.0.clone())))
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>> {
        Ok(Box::new(EmbeddedMember::join(self.0.clone(), config)?))
    }

    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>> {
        Ok(Box::new(EmbeddedProducer::new(self.0.clone(), config)))
    }

    fn reader(&self, config: &ReaderConfig) -> Result<Box<dyn Reader>> {
        Ok(Box::new(EmbeddedReader::new(self.0.clone(), config)))
    }
}

//! The public interface of the log.

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

/// A partitioned log inside this process. Cloning is cheap; all clones are the same log.
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
    /// The system's clock, a cache of 128 MiB, verification at opening, and no damage accepted.
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
    /// Sets the log's clock. Default: [`SystemLogClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn LogClock>) -> Self {
        self.clock = clock;
        self
    }

    /// How many bytes of a log on disk are kept in memory for readers of its end; default 128 MiB.
    /// Older records are read from disk. Records not yet on disk may take half as much in addition.
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

    /// Creates a log in memory. It ends with its last clone and client.
    pub fn in_memory(self) -> EmbeddedLog {
        EmbeddedLog(Arc::new(SharedLog::new(
            LogState::default(),
            self.clock,
            None,
            self.cache_bytes,
        )))
    }

    /// Opens the log in a directory, or creates both.
    ///
    /// Transactions left open by a dead process are aborted. A log of an earlier version is
    /// rewritten, which temporarily needs as much space again.
    ///
    /// # Errors
    /// Another process has it open, it is damaged, or the disk fails.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<EmbeddedLog> {
        let (disk, state) = Disk::open(directory.as_ref(), self.options())?;
        Ok(self.opened(disk, state))
    }

    /// Opens a log on a storage of your own, for tests that lose or tear writes.
    pub fn open_on(self, storage: impl StorageBackend) -> Result<EmbeddedLog> {
        let (disk, state) = Disk::open_on(storage, self.options())?;
        Ok(self.opened(disk, state))
    }

    fn options(&self) -> DiskOptions {
        let skip = self.damaged == Damaged::Skip;
        // What to leave out must be known before the first read.
        let verify = skip || self.verify == Verify::WhenOpened;
        DiskOptions { cache_bytes: self.cache_bytes, verify, skip }
    }

    fn opened(self, disk: Disk, state: LogState) -> EmbeddedLog {
        EmbeddedLog(Arc::new(SharedLog::new(state, self.clock, Some(disk), self.cache_bytes)))
    }
}

impl EmbeddedLog {
    /// Creates a log in memory. It ends with its last clone and client.
    pub fn in_memory() -> Self {
        LogOptions::default().in_memory()
    }

    /// Opens the log in a directory, or creates it. See [`LogOptions::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        LogOptions::default().open(directory)
    }

    /// What was damaged and left out when the log was opened with [`Damaged::Skip`]; empty if it
    /// was intact.
    pub fn left_out(&self) -> &[LeftOut] {
        self.0.disk.as_ref().map_or(&[], Disk::left_out)
    }

    /// Compacts topics and deletes expired records, as of `now` (Unix milliseconds). The log does
    /// this by itself every 15 seconds, inside a commit.
    pub fn maintain(&self, now: Timestamp) -> Result<()> {
        self.0.maintain(now, true)
    }

    /// Raises a topic's number of partitions to `partitions`. Only for a log in memory.
    ///
    /// # Errors
    /// The topic does not exist, does not have fewer partitions, or the log is on disk.
    pub fn grow_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.0.lock().grow_topic(&topic.into(), partitions)?;
        self.0.notify_groups();
        Ok(())
    }

    /// Removes all members from all groups, for tests: as if a coordinator or broker had restarted
    /// and their sessions had expired. They find out at their next poll, and join again.
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

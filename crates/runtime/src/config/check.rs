//! What a configuration must not say.

use std::time::Duration;

use super::{Config, TableStorage};

/// A configuration that cannot be used, in words.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

streams_core::debug_is_display!(ConfigError);

impl ConfigError {
    /// An error that says `why`.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// What is wrong, without the words that say where.
    pub(super) fn why(&self) -> &str {
        &self.0
    }
}

/// As long as Kafka's protocol can say, 24 days and some hours, for all: a sum of two of them is
/// still a time.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Threads of one kind; each has buffers of its own.
const THREADS_MAX: usize = 1_000;

/// Below this, overlays and queues would commit after every few records.
const MEMORY_MIN: u64 = 16 << 20;

impl Config {
    /// The configuration, if it can be used.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let positive = [
            ("worker_threads", self.worker_threads > 0),
            ("restore_threads", self.restore_threads > 0),
            ("poll_records_max", self.poll_records_max > 0),
            ("commit_interval", self.commit_interval() > Duration::ZERO),
            ("session_timeout", self.session_timeout > Duration::ZERO),
            ("heartbeat_interval", self.heartbeat_interval > Duration::ZERO),
            ("request_timeout", self.request_timeout > Duration::ZERO),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, positive)| !positive) {
            return Err(ConfigError::new(format!("{name} must be greater than zero")));
        }
        self.within_limits()?;
        if self.heartbeat_interval * 3 > self.session_timeout {
            return Err(ConfigError::new(
                "heartbeat_interval must be at most a third of session_timeout, or one lost \
                 heartbeat ends the membership",
            ));
        }
        if self.commit_interval() >= self.transaction_timeout {
            return Err(ConfigError::new("commit_interval must be below transaction_timeout"));
        }
        if self.tables() == TableStorage::Rocksdb && self.state_dir.is_none() {
            return Err(ConfigError::new("tables = \"rocksdb\" needs a state_dir"));
        }
        Ok(self)
    }

    /// Numbers that no machine has would overflow, or be cut by whoever they are given to.
    fn within_limits(&self) -> Result<(), ConfigError> {
        let durations = [
            ("commit_interval", self.commit_interval()),
            ("session_timeout", self.session_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("transaction_timeout", self.transaction_timeout),
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("shutdown_timeout", self.shutdown_timeout),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, length)| *length > LONGEST) {
            return Err(ConfigError::new(format!("{name} must be at most 24 days")));
        }
        let threads =
            [("worker_threads", self.worker_threads), ("restore_threads", self.restore_threads)];
        if let Some((name, _)) = threads.iter().find(|(_, count)| *count > THREADS_MAX) {
            return Err(ConfigError::new(format!("{name} must be at most {THREADS_MAX}")));
        }
        if i32::try_from(self.poll_records_max).is_err() {
            return Err(ConfigError::new(format!("poll_records_max must be at most {}", i32::MAX)));
        }
        if !(MEMORY_MIN..=i64::MAX as u64).contains(&self.memory.0) {
            return Err(ConfigError::new("memory must be at least 16MiB and less than 8 EiB"));
        }
        let is_count = |replicas: i32| (1..=i32::from(i16::MAX)).contains(&replicas);
        if !self.replication.is_none_or(is_count) {
            return Err(ConfigError::new("replication must be a number of replicas, or absent"));
        }
        Ok(())
    }
}

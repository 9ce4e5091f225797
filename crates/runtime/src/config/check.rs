//! What a configuration must not say.

use std::time::Duration;

use super::{Config, Tables};

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
}

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
        if self.memory.0 < MEMORY_MIN {
            return Err(ConfigError::new("memory must be at least 16MiB"));
        }
        if self.heartbeat_interval * 3 > self.session_timeout {
            return Err(ConfigError::new(
                "heartbeat_interval must be at most a third of session_timeout, or one lost \
                 heartbeat ends the membership",
            ));
        }
        if self.commit_interval() >= self.transaction_timeout {
            return Err(ConfigError::new("commit_interval must be below transaction_timeout"));
        }
        if self.tables() == Tables::Rocksdb && self.state_dir.is_none() {
            return Err(ConfigError::new("tables = \"rocksdb\" needs a state_dir"));
        }
        Ok(self)
    }
}

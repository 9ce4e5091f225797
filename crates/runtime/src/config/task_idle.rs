//! How long a task waits for inputs without records.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::duration;

/// How long a task waits for an input without records while others have some; Kafka Streams'
/// `max.task.idle.ms`.
///
/// In a file it is a duration or the word `off`:
///
/// ```
/// use headwater::Config;
/// use headwater::config::TaskIdle;
/// use std::time::Duration;
/// let config = Config::from_toml("task_idle = \"500ms\"")?;
/// assert_eq!(config.task_idle, TaskIdle::Wait(Duration::from_millis(500)));
/// assert_eq!(Config::from_toml("task_idle = \"off\"")?.task_idle, TaskIdle::Off);
/// # Ok::<(), headwater::errors::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskIdle {
    /// It does not wait, not even until the log has answered whether it has older records: what was
    /// fetched is processed. The latency is low, but a join may miss a row that existed.
    Off,
    /// It waits until the log has answered that it has nothing more of this input, and then this
    /// long for records that are not written yet.
    Wait(Duration),
}

impl Default for TaskIdle {
    fn default() -> Self {
        Self::Wait(Duration::ZERO)
    }
}

impl Serialize for TaskIdle {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => to.serialize_str("off"),
            Self::Wait(time) => duration::serialize(time, to),
        }
    }
}

impl<'de> Deserialize<'de> for TaskIdle {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match &*text {
            "off" => Ok(Self::Off),
            text => duration::parse(text).map(Self::Wait).ok_or_else(|| {
                let why = format!("{text:?} is neither a duration, such as 500ms, nor \"off\"");
                serde::de::Error::custom(why)
            }),
        }
    }
}

//! The user's properties, as far as this client knows them.

use std::time::Duration;

use crate::access::{Access, MILLIS_MAX, WITHOUT_MEANING};
use crate::config::KafkaConfig;
use crate::wire::ANSWER_MAX;

/// What fetching needs to know.
#[derive(Clone)]
pub(crate) struct PullSettings {
    pub(crate) access: Access,
    /// How long a broker waits until there is something.
    pub(super) wait: Duration,
    /// Bytes of one answer, and of one partition's part of it.
    pub(super) answer_bytes: usize,
    pub(super) partition_bytes: usize,
    pub(super) read_committed: bool,
}

impl PullSettings {
    /// Takes what the user set.
    ///
    /// # Errors
    /// The first property that this client does not know, or not with this value.
    pub(crate) fn new(kafka: &KafkaConfig, read_committed: bool) -> Result<Self, String> {
        let mut settings = Self {
            access: Access::new(kafka, kafka.consumer())?,
            wait: Duration::from_millis(100),
            answer_bytes: 4 << 20,
            partition_bytes: 1 << 20,
            read_committed,
        };
        for (name, value) in kafka.common().iter().chain(kafka.consumer()) {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    /// How old an answer may be that says that a partition has nothing more: twice what a broker
    /// may take that has nothing, and a moment for a busy machine.
    pub(super) fn answer_within(&self) -> Duration {
        self.wait.saturating_mul(2).saturating_add(Duration::from_millis(500))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let refused = || format!("the property {name}={value} is librdkafka's alone");
        let bytes = || value.parse::<usize>().map_err(|_| refused());
        match name {
            "fetch.wait.max.ms" => {
                let millis = value.parse::<f64>().ok();
                let millis = millis.filter(|millis| (0.0..=MILLIS_MAX).contains(millis));
                self.wait = Duration::from_secs_f64(millis.ok_or_else(refused)? / 1_000.0);
            }
            // Twice as much still has room for a batch that is larger than that.
            "fetch.max.bytes" => self.answer_bytes = bytes()?.min(ANSWER_MAX / 2),
            "fetch.message.max.bytes" | "max.partition.fetch.bytes" => {
                self.partition_bytes = bytes()?;
            }
            // Of these `Access` knows.
            "client.id" | "security.protocol" => {}
            name if name.starts_with("sasl.") || WITHOUT_MEANING.contains(&name) => {}
            _ => return Err(refused()),
        }
        Ok(())
    }
}

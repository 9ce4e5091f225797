//! Topics and their configuration.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{NewTopic, TimestampType, TopicInfo};
use streams_core::MAX_MESSAGE_BYTES;

use crate::partition::PartitionId;

/// A topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicState {
    pub(crate) name: Arc<str>,
    /// By partition number.
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) config: TopicConfig,
}

/// A topic's settings, with Kafka's names and defaults, except for one: nothing expires by default.
/// Kafka deletes records whose *timestamp* is a week old, so last year's orders would vanish while
/// they are being processed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicConfig {
    /// `cleanup.policy` as it was written.
    pub(crate) cleanup_policy: String,
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    /// `retention.ms`; −1 means without limit.
    pub(crate) retention_ms: i64,
    /// `delete.retention.ms`: how long tombstones are kept.
    pub(crate) delete_retention_ms: i64,
    /// `max.message.bytes`: the size of a record as a Kafka batch of one.
    pub(crate) message_bytes_max: i32,
    /// `message.timestamp.before.max.ms`: how far a timestamp may lie behind the clock.
    pub(crate) timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far it may lie ahead of the clock.
    pub(crate) timestamp_after_max_ms: i64,
    /// `min.cleanable.dirty.ratio`, in thousandths.
    pub(crate) dirty_permille_min: u64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            cleanup_policy: "delete".to_owned(),
            compact: false,
            delete: true,
            retention_ms: -1,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            message_bytes_max: MAX_MESSAGE_BYTES,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            dirty_permille_min: 500,
        }
    }
}

/// Kafka's settings for a broker's files or replicas, which have no effect here.
const WITHOUT_EFFECT: [&str; 14] = [
    "compression.type",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "max.compaction.lag.ms",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

impl TopicConfig {
    /// Parses Kafka's settings; the error names the wrong one and says why.
    pub(crate) fn parse(settings: &[(String, String)]) -> Result<Self, String> {
        let mut config = Self::default();
        for (name, value) in settings {
            config.set(name, value).map_err(|why| format!("{name}={value}: {why}"))?;
        }
        Ok(config)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "cleanup.policy" => self.set_policy(value)?,
            "retention.ms" => self.retention_ms = number(value, -1)?,
            "delete.retention.ms" => self.delete_retention_ms = number(value, 0)?,
            "max.message.bytes" => {
                // A chunk addresses its bytes with 32-bit numbers.
                self.message_bytes_max = number(value, 0)?.min(i64::from(i32::MAX) / 2) as i32;
            }
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number(value, 0)?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number(value, 0)?,
            "message.timestamp.difference.max.ms" => {
                self.timestamp_before_max_ms = number(value, 0)?;
                self.timestamp_after_max_ms = self.timestamp_before_max_ms;
            }
            "min.cleanable.dirty.ratio" => match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => {
                    self.dirty_permille_min = (ratio * 1000.0).round() as u64;
                }
                _ => return Err("must be a number from 0 to 1".to_owned()),
            },
            "message.timestamp.type" if value == "CreateTime" => {}
            "message.timestamp.type" => {
                return Err("the embedded log keeps the producer's time (CreateTime)".to_owned());
            }
            "retention.bytes" if value == "-1" => {}
            "retention.bytes" => {
                return Err("the embedded log bounds a topic only by retention.ms".to_owned());
            }
            known if WITHOUT_EFFECT.contains(&known) => {
                tracing::debug!(setting = known, value, "has no effect in the embedded log");
            }
            _ => return Err("unknown setting".to_owned()),
        }
        Ok(())
    }

    fn set_policy(&mut self, value: &str) -> Result<(), String> {
        let mut compact = false;
        let mut delete = false;
        for part in value.split(',').map(str::trim) {
            match part {
                "compact" => compact = true,
                "delete" => delete = true,
                _ => return Err("must be delete, compact or compact,delete".to_owned()),
            }
        }
        self.compact = compact;
        self.delete = delete;
        self.cleanup_policy = value.to_owned();
        Ok(())
    }

    /// The settings from which [`parse`](Self::parse) makes this.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let ratio = self.dirty_permille_min as f64 / 1000.0;
        let mut settings = vec![
            ("cleanup.policy", self.cleanup_policy.clone()),
            ("retention.ms", self.retention_ms.to_string()),
            ("delete.retention.ms", self.delete_retention_ms.to_string()),
            ("max.message.bytes", self.message_bytes_max.to_string()),
            ("min.cleanable.dirty.ratio", ratio.to_string()),
        ];
        // Defaults of newer settings are not written: an older version does not know them.
        for (name, ms) in [
            ("message.timestamp.before.max.ms", self.timestamp_before_max_ms),
            ("message.timestamp.after.max.ms", self.timestamp_after_max_ms),
        ] {
            settings.extend((ms != i64::MAX).then(|| (name, ms.to_string())));
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Whether records expire.
    pub(crate) fn retention(&self) -> Option<Duration> {
        let ms = u64::try_from(self.retention_ms).ok()?;
        self.delete.then_some(Duration::from_millis(ms))
    }
}

fn number(value: &str, min: i64) -> Result<i64, String> {
    match value.parse::<i64>() {
        Ok(number) if number >= min => Ok(number),
        _ => Err(format!("not a whole number from {min} on")),
    }
}

impl TopicState {
    pub(crate) fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.name.clone(),
            partitions: self.partitions.len() as i32,
            cleanup_policy: self.config.cleanup_policy.clone(),
            retention_ms: self.config.retention_ms,
            max_message_bytes: self.config.message_bytes_max,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: self.config.timestamp_before_max_ms,
            timestamp_after_max_ms: self.config.timestamp_after_max_ms,
        }
    }
}

/// The most partitions of a topic: far more than one machine needs.
pub(crate) const PARTITIONS_MAX: i32 = 100_000;

/// The longest name of a topic.
const NAME_MAX: usize = 249;

/// Checks the name and the partition count by Kafka's rules, with Kafka's messages.
pub(crate) fn check(topic: &NewTopic) -> Result<(), String> {
    if let Some(fault) = fault(&topic.name) {
        return Err(format!("Topic name is invalid: {fault}"));
    }
    if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
        return Err(format!("{} partitions; it must be 1 to {PARTITIONS_MAX}", topic.partitions));
    }
    Ok(())
}

/// Checks a new topic's name against the existing ones. Kafka names metrics after topics, with '_'
/// for '.', so such names collide.
pub(crate) fn check_collisions<'t>(
    name: &str,
    mut topics: impl Iterator<Item = &'t Arc<str>>,
) -> Result<(), String> {
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    let unified = name.replace('.', "_");
    match topics.find(|other| other.replace('.', "_") == unified) {
        Some(other) => Err(format!("Topic '{name}' collides with existing topic: {other}")),
        None => Ok(()),
    }
}

/// The fault in a topic's name.
fn fault(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Some("the empty string is not allowed".to_owned()),
        "." | ".." => Some(format!("'{name}' is not allowed")),
        _ if name.len() > NAME_MAX => {
            Some(format!("the length of '{name}' is longer than the max allowed length {NAME_MAX}"))
        }
        _ if !name.chars().all(legal) => Some(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<TopicConfig, String> {
        TopicConfig::parse(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn names_are_refused_in_kafkas_words() {
        let told = |name: &str| {
            let topic = NewTopic {
                name: name.into(),
                partitions: 1,
                replication: None,
                config: Vec::new(),
            };
            check(&topic).err().unwrap_or_default()
        };
        assert_eq!(told("orders-per.customer_2"), "");
        assert_eq!(told(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(told(".."), "Topic name is invalid: '..' is not allowed");
        let slash = "Topic name is invalid: 'a/b' contains one or more characters other than ASCII \
                     alphanumerics, '.', '_' and '-'";
        assert_eq!(told("a/b"), slash);
        assert!(told(&"x".repeat(250)).ends_with("is longer than the max allowed length 249"));
        let topics: Vec<Arc<str>> = vec!["a_b".into(), "c".into()];
        let collision = check_collisions("a.b", topics.iter());
        assert_eq!(collision, Err("Topic 'a.b' collides with existing topic: a_b".to_owned()));
        assert_eq!(check_collisions("a-b", topics.iter()), Ok(()));
        assert_eq!(check_collisions("c.d", topics.iter()), Ok(()));
    }

    #[test]
    fn reads_what_kafka_reads() {
        let both = parse("cleanup.policy", "compact,delete").unwrap();
        assert!(both.compact && both.delete);
        assert_eq!(both.cleanup_policy, "compact,delete");
        let compact = parse("cleanup.policy", "compact").unwrap();
        assert_eq!(compact.retention(), None, "retention.ms is for the policy delete");
        assert_eq!(parse("retention.ms", "-1").unwrap().retention(), None);
        assert_eq!(parse("segment.bytes", "1024"), Ok(TopicConfig::default()));
        let recent = parse("message.timestamp.difference.max.ms", "5").unwrap();
        assert_eq!((recent.timestamp_before_max_ms, recent.timestamp_after_max_ms), (5, 5));
        assert_eq!(TopicConfig::parse(&recent.settings()), Ok(recent));
    }

    #[test]
    fn refuses_settings_that_it_cannot_honour() {
        for (name, value) in [
            ("cleanup.policy", "compact,sometimes"),
            ("retention.ms", "soon"),
            ("retention.bytes", "1000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.cleanable.dirty.ratio", "2"),
            ("retention", "1"),
        ] {
            let error = parse(name, value).unwrap_err();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}

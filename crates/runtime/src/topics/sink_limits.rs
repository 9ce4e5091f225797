//! The limits of topics that tasks write to: known from the start, or looked up when a record is
//! for a topic that only the record names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use streams_core::{RecordLimits, TopicLimits};

use super::TopicMetadata;
use crate::clock::Clock;
use crate::transport::{RecordBytesMax, TimestampType, TopicInfo, Transport};

/// How long a look-up may block a worker.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two look-ups of a topic that does not exist, or whose look-up failed.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Shared by all workers.
pub(crate) struct SinkLimits {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    topics: Mutex<KnownTopics>,
}

#[derive(Default)]
struct KnownTopics {
    known: BTreeMap<Arc<str>, LimitsLookUp>,
    /// Topics whose limits are known, in the order in which they became known.
    found: Vec<TopicInfo>,
}

#[derive(Clone, Copy)]
enum LimitsLookUp {
    Known(RecordLimits),
    /// The topic was not found; it is not looked up again before this time.
    RetryAt(Duration),
}

impl fmt::Debug for SinkLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkLimits({:?})", self.transport)
    }
}

impl SinkLimits {
    /// Knows the topics of `metadata`.
    pub(crate) fn new(
        metadata: &TopicMetadata,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut topics = KnownTopics::default();
        let client = transport.record_bytes_max();
        for info in metadata.topics.values() {
            topics.add(info.clone(), client);
        }
        Self { transport, clock, topics: Mutex::new(topics) }
    }

    /// The topics that became known after the first `known` ones.
    pub(crate) fn since(&self, known: usize) -> Vec<TopicInfo> {
        self.topics().found.get(known..).unwrap_or_default().to_vec()
    }

    /// Describes limits that have changed since they became known; empty if there are none, or if
    /// the log does not answer.
    pub(crate) fn changes(&self) -> String {
        let before = self.since(0);
        let names: Vec<_> = before.iter().map(|info| Arc::clone(&info.name)).collect();
        let described =
            self.transport.admin().and_then(|mut admin| admin.describe(&names, LOOK_UP_TIMEOUT));
        let now = described.unwrap_or_default().into_iter().flatten();
        let now: BTreeMap<_, _> = now.map(|info| (Arc::clone(&info.name), info)).collect();
        let pairs = before.iter().filter_map(|before| Some((before, now.get(&before.name)?)));
        pairs.flat_map(|(before, now)| changes(before, now)).collect::<Vec<_>>().join(", ")
    }

    fn topics(&self) -> MutexGuard<'_, KnownTopics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self, topic: &str) -> Option<TopicInfo> {
        let described = self.transport.admin().and_then(|mut admin| {
            let names = [Arc::from(topic)];
            Ok(admin.describe(&names, LOOK_UP_TIMEOUT)?.pop().flatten())
        });
        // If it does not exist, sending to it is an error.
        described.unwrap_or_else(|error| {
            tracing::warn!(topic, %error, "the limits of the topic are not known; assuming \
                Kafka's default size");
            None
        })
    }
}

impl KnownTopics {
    fn add(&mut self, info: TopicInfo, client: Option<RecordBytesMax>) -> RecordLimits {
        let limits = record_limits(&info, client);
        self.known.insert(Arc::clone(&info.name), LimitsLookUp::Known(limits));
        self.found.push(info);
        limits
    }
}

/// The limits of a topic that have changed.
fn changes(before: &TopicInfo, now: &TopicInfo) -> Vec<String> {
    let TopicInfo { name, .. } = now;
    let changed = |setting: &str, before: i64, now: i64| {
        (before != now).then(|| format!("{setting} of {name} was {before} and is {now}"))
    };
    let size =
        changed("max.message.bytes", before.max_message_bytes.into(), now.max_message_bytes.into());
    let earliest = changed(
        "message.timestamp.before.max.ms",
        before.timestamp_before_max_ms,
        now.timestamp_before_max_ms,
    );
    let latest = changed(
        "message.timestamp.after.max.ms",
        before.timestamp_after_max_ms,
        now.timestamp_after_max_ms,
    );
    let policy = (before.cleanup_policy != now.cleanup_policy).then(|| {
        let before = &before.cleanup_policy;
        format!("cleanup.policy of {name} was {before} and is {}", now.cleanup_policy)
    });
    [size, earliest, latest, policy].into_iter().flatten().collect()
}

impl TopicLimits for SinkLimits {
    fn of(&self, topic: &str) -> Option<RecordLimits> {
        let mut topics = self.topics();
        match topics.known.get(topic) {
            Some(LimitsLookUp::Known(limits)) => return Some(*limits),
            Some(LimitsLookUp::RetryAt(at)) if self.clock.monotonic() < *at => return None,
            _ => {}
        }
        // Under the lock: other workers may need the same topic, and wait for this look-up.
        let found = self.look_up(topic);
        if found.is_none() {
            let at = self.clock.monotonic() + RETRY_EVERY;
            topics.known.insert(topic.into(), LimitsLookUp::RetryAt(at));
        }
        found.map(|info| topics.add(info, self.transport.record_bytes_max()))
    }
}

/// The limits of a topic for a client that may have a limit of its own.
fn record_limits(info: &TopicInfo, client: Option<RecordBytesMax>) -> RecordLimits {
    let any_time = info.timestamp_type == TimestampType::LogAppendTime;
    let within = |ms| if any_time { i64::MAX } else { ms };
    let of_topic = usize::try_from(info.max_message_bytes).unwrap_or(0);
    let client = client.filter(|client| client.bytes < of_topic);
    RecordLimits {
        bytes_max: client.map_or(of_topic, |client| client.bytes),
        bytes_setting: client.map_or(RecordLimits::OF_TOPIC, |client| client.setting),
        before_max_ms: within(info.timestamp_before_max_ms),
        after_max_ms: within(info.timestamp_after_max_ms),
        needs_key: info.cleanup_policy.split(',').any(|policy| policy.trim() == "compact"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_two_limits_applies_and_is_named() {
        let info = TopicInfo { max_message_bytes: 1_000, ..TopicInfo::new("t", 1) };
        let client = |bytes| Some(RecordBytesMax { bytes, setting: "message.max.bytes" });
        for (client, bytes_max, setting) in [
            (None, 1_000, RecordLimits::OF_TOPIC),
            (client(1_001), 1_000, RecordLimits::OF_TOPIC),
            (client(999), 999, "message.max.bytes"),
        ] {
            let limits = record_limits(&info, client);
            assert_eq!((limits.bytes_max, limits.bytes_setting), (bytes_max, setting));
        }
    }

    #[test]
    fn changed_limits_are_named_with_the_topic_and_both_values() {
        let before = TopicInfo::new("t", 1);
        assert!(changes(&before, &before).is_empty());
        let now = TopicInfo { max_message_bytes: 20, ..before.clone() };
        assert_eq!(changes(&before, &now), ["max.message.bytes of t was 1048588 and is 20"]);
    }

    #[test]
    fn a_topic_that_sets_timestamps_itself_takes_any() {
        let bounded = TopicInfo { timestamp_after_max_ms: 5, ..TopicInfo::new("t", 1) };
        assert_eq!(record_limits(&bounded, None).after_max_ms, 5);
        let timestamp_type = TimestampType::LogAppendTime;
        let own = TopicInfo { timestamp_type, ..bounded };
        assert_eq!(record_limits(&own, None).after_max_ms, i64::MAX);
        let compacted = TopicInfo { cleanup_policy: "delete,compact".to_owned(), ..own };
        assert!(record_limits(&compacted, None).needs_key);
    }
}

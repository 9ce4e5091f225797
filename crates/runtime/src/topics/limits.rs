//! What the topics take that tasks write to: known from the start, or looked up when a record is for
//! a topic that only the record names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use streams_core::{RecordLimits, TopicLimits};

use super::Layout;
use crate::clock::Clock;
use crate::transport::{RecordBytesMax, TimestampType, TopicInfo, Transport};

/// How long a look-up may keep a worker.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Between two look-ups of a topic that is not there, or of which nothing could be learned.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Asked by all workers.
pub(crate) struct Limits {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    topics: Mutex<BTreeMap<Arc<str>, Known>>,
}

#[derive(Clone, Copy)]
enum Known {
    Limits(RecordLimits),
    /// Not before this.
    LookAgain(Duration),
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limits({:?})", self.transport)
    }
}

impl Limits {
    /// Knows the topics of `layout`.
    pub(crate) fn new(
        layout: &Layout,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let client = transport.record_bytes_max();
        let known = |info: &TopicInfo| Known::Limits(record_limits(info, client));
        let topics = layout.topics.iter().map(|(name, info)| (Arc::clone(name), known(info)));
        let topics = Mutex::new(topics.collect());
        Self { transport, clock, topics }
    }

    fn look_up(&self, topic: &str) -> Known {
        let described = self.transport.admin().and_then(|mut admin| {
            let names = [Arc::from(topic)];
            Ok(admin.describe(&names, LOOK_UP)?.pop().flatten())
        });
        match described {
            Ok(Some(info)) => {
                Known::Limits(record_limits(&info, self.transport.record_bytes_max()))
            }
            // Sending to it will say that it is not there.
            Ok(None) => Known::LookAgain(self.clock.monotonic() + LOOK_AGAIN),
            Err(error) => {
                tracing::warn!(topic, %error, "what the topic takes is not known, Kafka's default \
                    size is assumed");
                Known::LookAgain(self.clock.monotonic() + LOOK_AGAIN)
            }
        }
    }
}

impl TopicLimits for Limits {
    fn of(&self, topic: &str) -> Option<RecordLimits> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        match topics.get(topic) {
            Some(Known::Limits(limits)) => return Some(*limits),
            Some(Known::LookAgain(at)) if self.clock.monotonic() < *at => return None,
            _ => {}
        }
        // The others wait: they may want the same.
        let known = self.look_up(topic);
        topics.insert(topic.into(), known);
        match known {
            Known::Limits(limits) => Some(limits),
            Known::LookAgain(_) => None,
        }
    }
}

/// What a topic takes from a client that has a limit of its own.
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
    fn the_smaller_of_two_limits_counts_and_is_named() {
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
    fn a_topic_with_its_own_times_takes_any() {
        let bounded = TopicInfo { timestamp_after_max_ms: 5, ..TopicInfo::new("t", 1) };
        assert_eq!(record_limits(&bounded, None).after_max_ms, 5);
        let timestamp_type = TimestampType::LogAppendTime;
        let own = TopicInfo { timestamp_type, ..bounded };
        assert_eq!(record_limits(&own, None).after_max_ms, i64::MAX);
        let compacted = TopicInfo { cleanup_policy: "delete,compact".to_owned(), ..own };
        assert!(record_limits(&compacted, None).needs_key);
    }
}

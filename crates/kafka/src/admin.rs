//! Describes, creates and trims topics.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kafka_client::{ErrorClass, KafkaCluster};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic as NativeTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use runtime::transport::{
    Admin, ErrorKind, NewTopic, Result, TimestampType, TopicInfo, TransportError,
};
use streams_core::TopicPartition;

use crate::client;
use crate::config::{KafkaConfig, Role};
use crate::error;
use crate::oauth::TokenClient;

pub(crate) struct KafkaAdmin {
    client: Arc<AdminClient<Logging>>,
    /// Our own client's view, unless it does not know the user's properties.
    own: Option<Arc<KafkaCluster>>,
    brokers: String,
}

/// How long our own client may take to find out whether it is admitted.
const ADMISSION: Duration = Duration::from_secs(5);

/// Passes librdkafka's log on.
struct Logging;

impl TokenClient for AdminClient<Logging> {
    fn native(&self) -> *mut rdkafka::bindings::rd_kafka_t {
        self.inner().native_ptr()
    }
}

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::consumer::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "headwater::kafka", %error, reason, "admin");
    }
}

impl KafkaAdmin {
    pub(crate) fn new(kafka: &KafkaConfig, own: Option<Arc<KafkaCluster>>) -> Result<Self> {
        let client: AdminClient<Logging> =
            kafka
                .client(Role::Admin)
                .create_with_context(Logging)
                .map_err(|error| error::plain("opening an administrative client", error))?;
        let client = Arc::new(client);
        if let Some(tokens) = kafka.tokens() {
            let client: Arc<dyn TokenClient> = Arc::clone(&client) as _;
            tokens.keep(&client)?;
        }
        Ok(Self { client, own, brokers: kafka.brokers().to_owned() })
    }

    /// Fails if the cluster refuses this client for good. librdkafka tries again without end and
    /// only says that its time is over; our own client names a wrong password, or what is wrong
    /// with a certificate.
    fn check_admission(&self, timeout: Duration) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        match own.check_admission(timeout.min(ADMISSION)) {
            Err(error) if error.class() == ErrorClass::Refused => Err(client::error(error)),
            _ => Ok(()),
        }
    }

    /// How many partitions each topic has; `None` for those that do not exist.
    fn partitions(&self, topics: &[Arc<str>], timeout: Duration) -> Result<Vec<Option<i32>>> {
        // All topics: asking for one by name might create it.
        let metadata = self.client.inner().fetch_metadata(None, timeout).map_err(|error| {
            error::plain(format!("asking {} for its topics", self.brokers), error)
        })?;
        let count = |name: &Arc<str>| {
            let mut found = metadata.topics().iter().filter(|topic| topic.error().is_none());
            found.find(|topic| topic.name() == &**name).map(|topic| topic.partitions().len() as i32)
        };
        Ok(topics.iter().map(count).collect())
    }
}

impl Admin for KafkaAdmin {
    fn describe(
        &mut self,
        topics: &[Arc<str>],
        timeout: Duration,
    ) -> Result<Vec<Option<TopicInfo>>> {
        self.check_admission(timeout)?;
        let partitions = self.partitions(topics, timeout)?;
        let there: Vec<_> =
            topics.iter().zip(&partitions).filter(|(_, count)| count.is_some()).collect();
        let asked: Vec<_> = there.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        if asked.is_empty() {
            return Ok(topics.iter().map(|_| None).collect());
        }
        let context = "asking for the configuration of topics";
        let configs = block_on(self.client.describe_configs(asked.iter(), &options(timeout)))
            .map_err(|error| error::plain(context, error))?;
        let mut configs = configs.into_iter();
        let info = |(name, count): (&Arc<str>, &Option<i32>)| {
            let Some(partitions) = *count else { return Ok(None) };
            let config = match configs.next() {
                Some(Ok(config)) => config,
                Some(Err(code)) => return Err(error::code(format!("{context}: {name}"), code)),
                None => {
                    return Err(TransportError::new(ErrorKind::Retriable, context, "no answer"));
                }
            };
            topic_info(name, partitions, &config).map(Some)
        };
        topics.iter().zip(&partitions).map(info).collect()
    }

    fn create(&mut self, topic: &NewTopic, timeout: Duration) -> Result<()> {
        self.check_admission(timeout)?;
        let mut refused = None;
        for config in spellings(&topic.config) {
            match self.create_with(topic, &config, timeout)? {
                None => return self.wait_until_known(&topic.name, timeout),
                // It may not know one of these names.
                Some(Code::InvalidConfig) => refused = Some(Code::InvalidConfig),
                code => {
                    refused = code;
                    break;
                }
            }
        }
        let context = format!("creating the topic {}", topic.name);
        Err(error::code(context, refused.unwrap_or(Code::InvalidConfig)))
    }

    fn delete_records(
        &mut self,
        before: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<()> {
        let failed = |error| error::plain("deleting records", error);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            let offset = Offset::Offset(*offset);
            list.add_partition_offset(&partition.topic, partition.partition, offset)
                .map_err(failed)?;
        }
        let deleted =
            block_on(self.client.delete_records(&list, &options(timeout))).map_err(failed)?;
        deleted.elements().iter().try_for_each(|one| one.error()).map_err(failed)
    }
}

impl KafkaAdmin {
    /// Asks for the topic with this configuration; returns what the broker has against it.
    fn create_with(
        &self,
        topic: &NewTopic,
        config: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Option<Code>> {
        let replication = TopicReplication::Fixed(topic.replication.unwrap_or(-1));
        let native = NativeTopic::new(&topic.name, topic.partitions, replication);
        let native = config.iter().fold(native, |native, (name, value)| native.set(name, value));
        let results = block_on(self.client.create_topics([&native], &options(timeout)))
            .map_err(|error| error::plain(format!("creating the topic {}", topic.name), error))?;
        Ok(results.into_iter().next().and_then(|result| result.err()).map(|(_, code)| code))
    }

    /// A topic that was created takes a moment until the brokers know it.
    fn wait_until_known(&self, name: &Arc<str>, timeout: Duration) -> Result<()> {
        let deadline = std::time::Instant::now() + timeout;
        let names = [Arc::clone(name)];
        while self.partitions(&names, timeout)?.first() == Some(&None) {
            if std::time::Instant::now() >= deadline {
                let context = format!("creating the topic {name}");
                let why = "created, but the brokers do not know it yet";
                return Err(TransportError::new(ErrorKind::Retriable, context, why));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The bounds of timestamps, as brokers name them from 3.6 on.
const BOUNDS: [&str; 2] = ["message.timestamp.before.max.ms", "message.timestamp.after.max.ms"];
/// Their one name until 3.9. As long as there are both, it counts where the newer one says that any
/// time will do.
const OLD_BOUND: &str = "message.timestamp.difference.max.ms";

/// A configuration as brokers of different ages want it said: a broker refuses names that it does
/// not know. Only timestamps without a bound have to be said in more than one way.
fn spellings(config: &[(String, String)]) -> Vec<Vec<(&str, &str)>> {
    let given: Vec<_> = config.iter().map(|(name, value)| (&**name, &**value)).collect();
    let any = i64::MAX.to_string();
    let is_unbounded = |bound: &&str| given.iter().any(|(name, ms)| name == bound && *ms == any);
    if !BOUNDS.iter().all(is_unbounded) {
        return vec![given];
    }
    let old = given.iter().find(|(name, _)| *name == BOUNDS[0]).map(|(_, any)| (OLD_BOUND, *any));
    let others = given.iter().filter(|(name, _)| !BOUNDS.contains(name)).copied();
    let both = given.iter().copied().chain(old).collect();
    let old_only = others.chain(old).collect();
    vec![both, given.clone(), old_only]
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}

/// A broker that does not know a topic yet, which was made a moment ago, answers without a word.
fn topic_info(name: &Arc<str>, partitions: i32, config: &ConfigResource) -> Result<TopicInfo> {
    let value = |key: &str| config.get(key).and_then(|entry| entry.value.clone());
    let cleanup_policy = value("cleanup.policy").ok_or_else(|| {
        let context = format!("asking for the configuration of {name}");
        TransportError::new(ErrorKind::Retriable, context, "the broker does not know it yet")
    })?;
    let number = |key: &str| value(key).and_then(|text| text.parse::<i64>().ok());
    let timestamp_type = match value("message.timestamp.type").as_deref() {
        Some("LogAppendTime") => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    };
    // Brokers 3.6 to 3.9 have both: the old setting counts where the new one is not set.
    let bound = |key: &str| {
        let newer = number(key).filter(|ms| *ms != i64::MAX);
        newer.or_else(|| number("message.timestamp.difference.max.ms")).unwrap_or(i64::MAX)
    };
    let of_defaults = TopicInfo::new(Arc::clone(name), partitions);
    Ok(TopicInfo {
        cleanup_policy,
        retention_ms: number("retention.ms").unwrap_or(-1),
        max_message_bytes: number("max.message.bytes")
            .and_then(|bytes| i32::try_from(bytes).ok())
            .unwrap_or(of_defaults.max_message_bytes),
        timestamp_type,
        timestamp_before_max_ms: bound("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: bound("message.timestamp.after.max.ms"),
        ..of_defaults
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(config: &[(&str, &str)]) -> Vec<(String, String)> {
        config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn timestamps_without_a_bound_are_asked_for_by_the_names_of_each_age() {
        let any = "9223372036854775807";
        let policy = ("cleanup.policy", "compact");
        let (before, after) = ((BOUNDS[0], any), (BOUNDS[1], any));
        let config = owned(&[policy, before, after]);
        let old = (OLD_BOUND, any);
        let expected =
            [vec![policy, before, after, old], vec![policy, before, after], vec![policy, old]];
        assert_eq!(spellings(&config), expected);
    }

    #[test]
    fn what_a_user_asks_for_is_asked_for_as_it_is() {
        for config in [&[("cleanup.policy", "compact")][..], &[(BOUNDS[0], "5")]] {
            assert_eq!(spellings(&owned(config)), [config.to_vec()]);
        }
    }
}

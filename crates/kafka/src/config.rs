//! Client properties: ours, the user's, and those that the user must not set.

use std::collections::BTreeMap;
use std::fmt;

use kafka_client::{OauthTokenProvider, Properties};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use runtime::Transactions;

use crate::oauth::TokenKeeper;

/// Which client a property is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Consumer,
    Producer,
    Admin,
}

/// Where the cluster is, and raw librdkafka properties for its clients.
#[derive(Clone, Default)]
pub struct KafkaConfig {
    brokers: String,
    common: BTreeMap<String, String>,
    consumer: BTreeMap<String, String>,
    producer: BTreeMap<String, String>,
    admin: BTreeMap<String, String>,
    transactions: Transactions,
    oauth: Option<OauthTokenProvider>,
    tokens: Option<TokenKeeper>,
}

/// A property or URL that cannot be used, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// The property would break what Headwater promises.
    #[error("the Kafka property {name} cannot be set: {why}")]
    Refused {
        /// The property.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// The URL names no brokers.
    #[error("{0:?} names no Kafka: write kafka://host:port[,host:port]")]
    Url(String),
}

/// Properties that are Headwater's own to set, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("acks", "every record must be on all in-sync replicas before a commit"),
    ("request.required.acks", "every record must be on all in-sync replicas before a commit"),
    ("auto.offset.reset", "where to begin is decided per source, see Start"),
    ("bootstrap.servers", "the broker URL says it"),
    ("metadata.broker.list", "the broker URL says it"),
    ("delivery.report.only.error", "changelog positions come from delivery reports"),
    ("enable.auto.commit", "offsets are committed with the effects they stand for, and only so"),
    ("auto.commit.enable", "offsets are committed with the effects they stand for, and only so"),
    ("enable.auto.offset.store", "offsets are committed with their effects, and only so"),
    ("enable.gapless.guarantee", "it is incompatible with transactions that abort"),
    ("enable.idempotence", "without it a retried request doubles records"),
    ("enable.partition.eof", "tasks and restores find the ends of partitions by it"),
    ("group.id", "it is the application id"),
    ("group.instance.id", "it is the instance id"),
    ("group.protocol", "only the classic protocol lets tasks of several topics move together"),
    ("isolation.level", "records of open and aborted transactions must not be processed"),
    ("max.in.flight", "more than five requests in flight lose the order"),
    ("max.in.flight.requests.per.connection", "more than five in flight lose the order"),
    ("message.send.max.retries", "giving up early loses records"),
    ("retries", "giving up early loses records"),
    ("message.timeout.ms", "it follows from the transaction timeout"),
    ("delivery.timeout.ms", "it follows from the transaction timeout"),
    ("partition.assignment.strategy", "tasks are placed by lead topics with cooperative-sticky"),
    ("partitioner", "equal keys must go where the Java client sends them"),
    ("sticky.partitioning.linger.ms", "equal keys must go where the Java client sends them"),
    ("session.timeout.ms", "it is the configuration's session_timeout"),
    ("heartbeat.interval.ms", "it is the configuration's heartbeat_interval"),
    ("transaction.timeout.ms", "it is the configuration's transaction_timeout"),
    ("transactional.id", "it is made of application id, instance id and thread"),
    ("plugin.library.paths", "interceptors could change what is committed"),
];

impl KafkaConfig {
    /// Brokers as `host:port[,host:port]`, or as a URL `kafka://…`.
    pub fn new(brokers: &str) -> Result<Self, PropertyError> {
        let hosts = brokers.strip_prefix("kafka://").unwrap_or(brokers).trim_end_matches('/');
        let named = |host: &str| {
            host.rsplit_once(':')
                .is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
        };
        if hosts.split(',').all(named) {
            Ok(Self { brokers: hosts.to_owned(), ..Self::default() })
        } else {
            Err(PropertyError::Url(brokers.to_owned()))
        }
    }

    /// Adds librdkafka properties: for all clients, for consumers, producers and administrative
    /// clients.
    ///
    /// # Errors
    /// The first property that is refused, with the reason.
    pub fn with_properties(
        mut self,
        common: &BTreeMap<String, String>,
        consumer: &BTreeMap<String, String>,
        producer: &BTreeMap<String, String>,
        admin: &BTreeMap<String, String>,
    ) -> Result<Self, PropertyError> {
        for name in [common, consumer, producer, admin].into_iter().flat_map(BTreeMap::keys) {
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return Err(PropertyError::Refused { name: name.clone(), why });
            }
        }
        self.common = common.clone();
        self.consumer = consumer.clone();
        self.producer = producer.clone();
        self.admin = admin.clone();
        Ok(self)
    }

    /// By which protocol transactions go.
    #[must_use]
    pub fn with_transactions(mut self, transactions: Transactions) -> Self {
        self.transactions = transactions;
        self
    }

    /// What provides tokens for the mechanism OAUTHBEARER (`sasl.mechanism`). Both of our clients
    /// take them; properties of librdkafka for other ways to tokens cannot be set beside it.
    #[must_use]
    pub fn with_oauth_tokens(mut self, provider: OauthTokenProvider) -> Self {
        self.tokens = Some(TokenKeeper::new(provider.clone()));
        self.oauth = Some(provider);
        self
    }

    /// What gives tokens to librdkafka's clients, if they need any.
    pub(crate) fn tokens(&self) -> Option<&TokenKeeper> {
        self.tokens.as_ref()
    }

    pub(crate) fn transactions(&self) -> Transactions {
        self.transactions
    }

    /// The brokers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What the user set for producers.
    pub(crate) fn producer_properties(&self) -> Properties<'_> {
        self.properties(&self.producer)
    }

    /// What the user set for consumers.
    pub(crate) fn consumer_properties(&self) -> Properties<'_> {
        self.properties(&self.consumer)
    }

    /// What the user set for administrative clients.
    pub(crate) fn admin_properties(&self) -> Properties<'_> {
        self.properties(&self.admin)
    }

    fn properties<'a>(&'a self, own: &'a BTreeMap<String, String>) -> Properties<'a> {
        Properties { common: &self.common, own, oauth: self.oauth.as_ref() }
    }

    /// How large a record the user lets producers take, if they said so.
    pub(crate) fn record_bytes_max(&self) -> Option<usize> {
        self.producer_properties().get(RECORD_BYTES_MAX)?.parse().ok()
    }

    /// A client's configuration: defaults, then the user's properties; what must be as it is, is
    /// set by the caller.
    pub(crate) fn client(&self, role: Role) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client.set("client.id", "headwater");
        client.set("topic.metadata.refresh.interval.ms", "30000");
        client.set("reconnect.backoff.max.ms", "2000");
        let (defaults, own): (&[(&str, &str)], _) = match role {
            Role::Consumer => (CONSUMER, &self.consumer),
            Role::Producer => (PRODUCER, &self.producer),
            Role::Admin => (&[], &self.admin),
        };
        defaults.iter().for_each(|(name, value)| {
            client.set(*name, *value);
        });
        for (name, value) in self.common.iter().chain(own) {
            client.set(name, value);
        }
        // Otherwise the `log` crate decides, which is not where we write. Debug lines come only if
        // the property `debug` asks for them.
        client.set_log_level(RDKafkaLogLevel::Debug);
        client
    }
}

/// librdkafka stops fetching for `fetch.queue.backoff.ms`, by default a second, once its queue is
/// full: that throttles consumption to a tenth.
const CONSUMER: &[(&str, &str)] = &[
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.message.max.bytes", "4194304"),
    // A request that gets lost without a word stops fetching for so long; the default is a minute.
    ("socket.timeout.ms", "10000"),
    ("allow.auto.create.topics", "false"),
    // Committed offsets are asked for again while a transaction that was just aborted holds them.
    ("retry.backoff.ms", "5"),
    ("retry.backoff.max.ms", "100"),
];

/// What a producer takes, whatever the topic takes.
pub(crate) const RECORD_BYTES_MAX: &str = "message.max.bytes";

/// The default `retry.backoff.ms` of 100 costs each transaction that much: the coordinator asks for
/// a retry while it ends the one before.
const PRODUCER: &[(&str, &str)] = &[
    // The topic decides how large a record may be, and records are held to that before they come
    // here. The greatest value there is.
    ("message.max.bytes", "1000000000"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("batch.size", "262144"),
    ("batch.num.messages", "10000"),
    ("retry.backoff.ms", "2"),
    ("retry.backoff.max.ms", "50"),
];

impl fmt::Debug for KafkaConfig {
    /// Without the properties' values: they hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = [&self.common, &self.consumer, &self.producer, &self.admin];
        let names: Vec<_> = roles.into_iter().flat_map(BTreeMap::keys).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("properties", &names)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<KafkaConfig, PropertyError> {
        let (own, none) = ([(name.to_owned(), value.to_owned())].into(), BTreeMap::new());
        KafkaConfig::new("localhost:9092")?.with_properties(&own, &none, &none, &none)
    }

    #[test]
    fn what_would_break_the_guarantee_is_refused_with_the_reason() {
        for (name, why) in REFUSED {
            let error = with(name, "x").expect_err(name);
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(with("security.protocol", "plaintext").is_ok());
    }

    #[test]
    fn urls_and_host_lists() {
        for good in ["kafka://a:1", "a:1,b:2", "kafka://[::1]:9092/"] {
            assert!(KafkaConfig::new(good).is_ok(), "{good}");
        }
        for bad in ["", "kafka://", "a", "a:b", "a:1,", "http://a:1x"] {
            assert!(KafkaConfig::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_of_the_users_own_is_known() {
        assert_eq!(
            with("message.max.bytes", "5000").expect("allowed").record_bytes_max(),
            Some(5_000)
        );
        assert_eq!(with("linger.ms", "1").expect("allowed").record_bytes_max(), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!("{:?}", with("sasl.password", "hunter2").expect("allowed"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}

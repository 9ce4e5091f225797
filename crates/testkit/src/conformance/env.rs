//! The environment of a case: its transport, unique names, and time limits.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use runtime::transport::{
    Admin, ErrorKind, MemberConfig, NewTopic, Producer, ProducerConfig, Reader, ReaderConfig,
    Result, Transport, TransportError,
};
use streams_core::TopicPartition;

/// Makes the transport compact and expire now, as if its clock were `Duration` later.
pub type Maintain = Arc<dyn Fn(Duration) + Send + Sync>;

/// The environment of a case.
#[derive(Clone)]
pub struct Env {
    transport: Arc<dyn Transport>,
    prefix: String,
    /// How long a case waits for something that must happen.
    pub patience: Duration,
    /// How long a case watches that something does not happen.
    pub quiet: Duration,
    /// The session timeout of members; a broker has a lower bound (6 s by default).
    pub session_timeout: Duration,
    /// How soon an open transaction times out.
    pub transaction_timeout: Duration,
    /// Set if compaction and retention can be triggered. A broker runs them minutes later, so
    /// without this the cases that need it pass without running.
    pub maintain: Option<Maintain>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Env {
    /// Runs on `transport`; every topic, group and transactional id gets `prefix`, which must be
    /// new on it.
    pub fn new(transport: Arc<dyn Transport>, prefix: &str) -> Self {
        Self {
            transport,
            prefix: prefix.replace("::", "-"),
            patience: Duration::from_secs(60),
            quiet: Duration::from_millis(500),
            session_timeout: Duration::from_secs(6),
            transaction_timeout: Duration::from_secs(60),
            maintain: None,
        }
    }

    /// The transport.
    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// A name unique to this case.
    pub(super) fn name(&self, what: &str) -> Arc<str> {
        format!("{}-{what}", self.prefix).into()
    }

    /// An administrative client.
    pub(super) fn admin(&self) -> Box<dyn Admin> {
        must("open an admin", self.transport.admin())
    }

    /// A new topic with the default configuration.
    pub(super) fn topic(&self, what: &str, partitions: i32) -> Arc<str> {
        self.topic_with(what, partitions, &[])
    }

    /// A new topic; returns once it is visible.
    pub(super) fn topic_with(
        &self,
        what: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Arc<str> {
        let topic = self.new_topic(what, partitions, config);
        let mut admin = self.admin();
        self.retry("create the topic", || admin.create(&topic, self.patience));
        self.eventually("the new topic is described", || {
            let infos = admin.describe(std::slice::from_ref(&topic.name), self.patience).ok()?;
            infos.into_iter().next()?
        });
        topic.name
    }

    /// The description of a topic to create.
    pub(super) fn new_topic(
        &self,
        what: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> NewTopic {
        let config = config.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        NewTopic { name: self.name(what), partitions, replication: None, config }
    }

    /// A producer without transactions, ready to send.
    pub(super) fn producer(&self) -> Box<dyn Producer> {
        self.init(None, self.transaction_timeout)
    }

    /// A transactional producer, initialised, called `id`.
    pub(super) fn transactional(&self, id: &str) -> Box<dyn Producer> {
        self.init(Some(self.name(id)), self.transaction_timeout)
    }

    /// A producer that is not initialised yet.
    pub(super) fn open(&self, id: Option<Arc<str>>) -> Box<dyn Producer> {
        self.open_with(id, self.transaction_timeout)
    }

    fn open_with(&self, id: Option<Arc<str>>, timeout: Duration) -> Box<dyn Producer> {
        let config = ProducerConfig {
            transactional_id: id,
            transaction_timeout: timeout,
            buffer_bytes_max: 16 << 20,
        };
        must("open a producer", self.transport.producer(&config))
    }

    /// A producer, initialised.
    pub(super) fn init(&self, id: Option<Arc<str>>, timeout: Duration) -> Box<dyn Producer> {
        let mut producer = self.open_with(id, timeout);
        self.retry("init the producer", || producer.init(self.patience));
        producer
    }

    /// A reader.
    pub(super) fn reader(&self, read_committed: bool) -> Box<dyn Reader> {
        must("open a reader", self.transport.reader(&ReaderConfig::new(read_committed)))
    }

    /// The configuration of a member of `group`.
    pub(super) fn member(&self, group: &str, topics: &[&Arc<str>]) -> MemberConfig {
        MemberConfig {
            group_id: self.name(group),
            instance_id: None,
            topics: topics.iter().map(|topic| (*topic).clone()).collect(),
            session_timeout: self.session_timeout,
            heartbeat_interval: self.session_timeout / 12,
            read_committed: true,
            fetch_bytes_max: 16 << 20,
        }
    }

    /// Calls `attempt` until it returns something; panics after the time limit.
    pub(super) fn eventually<T>(&self, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            assert!(Instant::now() < deadline, "never happened: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Repeats a call while its error is retriable.
    pub(super) fn retry<T>(&self, what: &str, mut call: impl FnMut() -> Result<T>) -> T {
        self.eventually(what, || match call() {
            Err(e) if e.kind() == ErrorKind::Retriable => None,
            result => Some(must(what, result)),
        })
    }

    /// Calls `watch` repeatedly for as long as the case watches that something does not happen.
    pub(super) fn meanwhile(&self, mut watch: impl FnMut()) {
        let end = Instant::now() + self.quiet;
        while Instant::now() < end {
            watch();
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The result of a call that must succeed.
pub(super) fn must<T>(what: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("{what}: {:?}: {e}", e.kind()),
    }
}

/// The error of a call that must fail with one of `kinds`.
pub(super) fn must_fail<T>(what: &str, kinds: &[ErrorKind], result: Result<T>) -> TransportError {
    match result {
        Ok(_) => panic!("{what}: succeeded, and should have failed with one of {kinds:?}"),
        Err(e) if kinds.contains(&e.kind()) => e,
        Err(e) => panic!("{what}: failed with {:?}, not one of {kinds:?}: {e}", e.kind()),
    }
}

/// Partition `partition` of `topic`.
pub(super) fn at(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition::new(topic.clone(), partition)
}

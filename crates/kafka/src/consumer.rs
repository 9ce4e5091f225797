//! The librdkafka consumer, with a context that notes what happens and does nothing about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use runtime::transport::Result;
use streams_core::TopicPartition;

use crate::config::KafkaConfig;
use crate::oauth::TokenClient;

pub(crate) type Consumer = BaseConsumer<Context>;

/// What the group decided. librdkafka waits for the answer, an (un)assignment, and goes on
/// heartbeating meanwhile.
#[derive(Debug)]
pub(crate) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke { partitions: Vec<TopicPartition>, lost: bool },
}

/// Notes rebalances, and passes librdkafka's log on.
#[derive(Debug, Default)]
pub(crate) struct Context {
    rebalances: Mutex<Vec<Rebalance>>,
    /// When it was said last that no broker can be reached.
    all_down: Mutex<Option<Instant>>,
    /// Set when nobody will answer rebalances any more: a consumer that is dropped would wait for
    /// the answer for ever.
    closing: AtomicBool,
}

impl Context {
    pub(crate) fn take(&self) -> Vec<Rebalance> {
        std::mem::take(&mut *self.rebalances.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// librdkafka says it many times a second for as long as it lasts.
    fn says_all_down(&self) -> bool {
        let mut last = self.all_down.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.is_none_or(|last| last.elapsed() >= ALL_DOWN);
        if is_new {
            *last = Some(Instant::now());
        }
        is_new
    }

    fn note(&self, rebalance: Rebalance) {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(rebalance);
    }
}

/// How often it is said that no broker can be reached.
const ALL_DOWN: Duration = Duration::from_secs(10);

/// Whether no broker can be reached, for the moment.
pub(crate) fn is_all_down(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if is_all_down(&error) && !self.says_all_down() {
            return;
        }
        tracing::warn!(target: "headwater::kafka", %error, reason, "consumer");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &Consumer, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = partitions(list);
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.note(Rebalance::Assign(partitions));
            return;
        }
        if self.closing.load(Ordering::Acquire) {
            if let Err(error) = consumer.incremental_unassign(list) {
                tracing::warn!(target: "headwater::kafka", %error, "unassign while closing");
            }
            return;
        }
        self.note(Rebalance::Revoke { partitions, lost: consumer.assignment_lost() });
    }
}

impl TokenClient for Consumer {
    fn native(&self) -> *mut rdkafka::bindings::rd_kafka_t {
        self.client().native_ptr()
    }
}

/// Gives the consumer its tokens, if it authenticates itself by some.
pub(crate) fn keep_token(kafka: &KafkaConfig, consumer: &Arc<Consumer>) -> Result<()> {
    let Some(tokens) = kafka.tokens() else { return Ok(()) };
    let client: Arc<dyn TokenClient> = Arc::clone(consumer) as _;
    tokens.keep(&client)
}

/// librdkafka's log lines as events.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(target: "headwater::kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::info!(target: "headwater::kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "headwater::kafka", facility, "{message}");
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    elements.iter().map(|one| TopicPartition::new(one.topic(), one.partition())).collect()
}

/// A librdkafka list of these partitions.
pub(crate) fn list<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

//! The executor of the second client, and what the cluster says about itself and its topics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use confluent_kafka::admin::{
    Admin, AdminClient, AdminClientConfig, DescribeFeaturesOptions, DescribeTopicsOptions,
};
use confluent_kafka::common::TopicCollection;
use runtime::transport::{ErrorKind, Result, TransportError};
use tokio::runtime::Runtime;

use super::error;
use super::properties::connection;
use crate::config::KafkaConfig;

/// Shared by all producers of a transport. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<Option<Arc<Executor>>>>);

/// Threads that run the client's tasks, and its administrative client.
pub(super) struct Executor {
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
    admin: Mutex<Option<Arc<dyn Admin>>>,
}

/// Broker requests of several workers; the work is compressing and writing to sockets.
const THREADS: usize = 2;

impl Clients {
    pub(super) fn executor(&self) -> Result<Arc<Executor>> {
        let mut executor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(executor) = &*executor {
            return Ok(Arc::clone(executor));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("headwater-kafka")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            TransportError::new(ErrorKind::Fatal, "starting threads for a producer", error)
        })?;
        let new = Arc::new(Executor { runtime: Some(runtime), admin: Mutex::default() });
        Ok(Arc::clone(executor.insert(new)))
    }

    /// Whether the cluster's transactions go by the second protocol.
    pub(crate) fn speaks_v2(&self, kafka: &KafkaConfig, timeout: Duration) -> Result<bool> {
        let executor = self.executor()?;
        let admin = executor.admin(kafka)?;
        let asked = executor.block_on(async {
            let options = DescribeFeaturesOptions::new().set_timeout_ms(Some(millis(timeout)));
            admin.describe_features_with_options(options).feature_metadata().get().await
        })?;
        match asked {
            Ok(features) => Ok(features
                .finalized_features()
                .get("transaction.version")
                .is_some_and(|range| range.max_version_level() >= 2)),
            // A broker that does not know the question does not know the protocol either.
            Err(error) if error.is_unsupported_version_error() => Ok(false),
            Err(error) => Err(error::plain("asking for the cluster's features", &error)),
        }
    }
}

impl Executor {
    pub(super) fn runtime(&self) -> Result<&Runtime> {
        let gone = || TransportError::new(ErrorKind::Fatal, "the producer", "it was closed");
        self.runtime.as_ref().ok_or_else(gone)
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        Ok(self.runtime()?.block_on(work))
    }

    /// Fails with `NotFound` unless `topic` exists. Never creates it: a broker may be set to create
    /// any topic that a producer asks about.
    pub(super) fn check_topic(&self, kafka: &KafkaConfig, topic: &str) -> Result<()> {
        const LOOK_UP: Duration = Duration::from_secs(5);
        let admin = self.admin(kafka)?;
        let names = TopicCollection::of_topic_names(vec![topic.to_owned()]);
        let options = DescribeTopicsOptions::new().set_timeout_ms(Some(millis(LOOK_UP)));
        let described = self.block_on(async {
            let result = admin.describe_topics_with_topics_options(names, options);
            match result.all_topic_names() {
                Some(topics) => topics.get().await.map(drop),
                None => Ok(()),
            }
        })?;
        described.map_err(|error| error::plain(&format!("sending to {topic}"), &error))
    }

    /// One for all; it closes idle connections by itself.
    fn admin(&self, kafka: &KafkaConfig) -> Result<Arc<dyn Admin>> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(admin) = &*admin {
            return Ok(Arc::clone(admin));
        }
        const CONTEXT: &str = "opening an administrative client";
        let _inside = self.runtime()?.enter();
        let properties = connection(kafka)
            .map_err(|why| TransportError::new(ErrorKind::Refused, CONTEXT, why))?;
        let new = AdminClientConfig::new(&properties)
            .and_then(AdminClient::create)
            .map_err(|error| error::plain(CONTEXT, &error))?;
        Ok(Arc::clone(admin.insert(Arc::from(new))))
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // It may be dropped by one of its own threads, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

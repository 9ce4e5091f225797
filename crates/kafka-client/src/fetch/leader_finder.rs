//! The thread that finds the leaders of partitions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::broker_fetcher::{BrokerFetcher, permanent};
use super::buffer::{FetchPlan, SharedFetchBuffer};
use super::partition::{BrokerId, NO_LEADER};
use super::state::{FetchId, PartitionFetch, PartitionOutcome};
use crate::cluster::{ATTEMPT, KafkaCluster, MISSING};
use crate::connection::{self, RequestError};
use crate::error::{ErrorClass, KafkaClientError};
use crate::partition::PartitionId;
use crate::protocol::ErrorCode;
use crate::requests::{Leader, MetadataTopic};
use crate::{Result, thread};

/// Finds leaders, and starts a thread for each broker that turns out to be one.
pub(super) struct LeaderFinder {
    buffer: SharedFetchBuffer,
    cluster: Arc<KafkaCluster>,
    running: Mutex<BTreeSet<BrokerId>>,
}

/// How often leaders are looked up again although nothing is wrong: a leader that is cut off from
/// the other brokers still answers, but gets no new records.
const REFRESH: Duration = Duration::from_secs(30);

impl LeaderFinder {
    /// Starts the thread, and through it all others. They end when the buffer is closed.
    pub(super) fn start(buffer: &SharedFetchBuffer, cluster: &Arc<KafkaCluster>) -> Result<()> {
        let buffer = Arc::clone(buffer);
        let cluster = Arc::clone(cluster);
        let finder = Self { buffer, cluster, running: Mutex::default() };
        let broken = Arc::clone(&finder.buffer);
        let failed = move |why| broken.break_off(why);
        thread::spawn("headwater-leaders".to_owned(), move || finder.run(), failed)
    }

    fn run(&self) {
        let mut refresh_at = Instant::now() + REFRESH;
        while let Some(FetchPlan { partitions, .. }) = self.buffer.take(NO_LEADER, Some(refresh_at))
        {
            if Instant::now() >= refresh_at {
                self.refresh();
                refresh_at = Instant::now() + REFRESH;
            }
            if partitions.is_empty() {
                continue;
            }
            if partitions.iter().any(|fetch| fetch.failing_since.is_some()) {
                self.cluster.avoid_current();
            }
            let found = self.topics(partitions.iter().map(|fetch| &fetch.id));
            let completed = partitions.into_iter().map(|fetch| match &found {
                Ok(topics) => (fetch.number, self.leader(topics, &fetch)),
                Err(RequestError::Refused(code)) if !code.is_retriable_for_reads() => {
                    (fetch.number, refused(&fetch, *code))
                }
                Err(error) if error.is_permanent() => (fetch.number, permanent(&fetch, error)),
                Err(error) => {
                    tracing::debug!(target: "headwater::kafka", %error, "looking for leaders");
                    (fetch.number, PartitionOutcome::Retry)
                }
            });
            let completed: Vec<(FetchId, PartitionOutcome)> = completed.collect();
            self.buffer.complete(completed);
        }
    }

    fn topics<'a>(
        &self,
        ids: impl Iterator<Item = &'a PartitionId>,
    ) -> connection::Result<Vec<MetadataTopic>> {
        let mut names: Vec<_> = ids.map(|id| Arc::clone(&id.topic)).collect();
        names.sort_unstable();
        names.dedup();
        self.cluster.topics(&names, Instant::now() + ATTEMPT)
    }

    /// Moves partitions whose leader has changed.
    fn refresh(&self) {
        let led = self.buffer.led();
        if led.is_empty() {
            return;
        }
        self.cluster.avoid_current();
        let topics = match self.topics(led.iter().map(|(_, id)| id)) {
            Ok(topics) => topics,
            Err(error) => {
                tracing::debug!(target: "headwater::kafka", %error, "looking for leaders again");
                return;
            }
        };
        let leaders = led.into_iter().filter_map(|(number, id)| {
            let leader = find(&topics, &id)?.1?;
            let is_there = leader.broker >= 0 && self.start_fetcher(leader.broker).is_ok();
            is_there.then_some((number, leader))
        });
        let leaders: Vec<_> = leaders.collect();
        self.buffer.follow(leaders);
    }

    fn leader(&self, topics: &[MetadataTopic], fetch: &PartitionFetch) -> PartitionOutcome {
        let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None);
        let (code, leader) = find(topics, &fetch.id).unwrap_or(unknown);
        let class = match (code, leader) {
            (ErrorCode::NONE, Some(leader)) if leader.broker >= 0 => {
                let started = self.start_fetcher(leader.broker);
                return started
                    .map_or_else(PartitionOutcome::Failed, |()| PartitionOutcome::Leader(leader));
            }
            (ErrorCode::NONE, Some(_)) => return PartitionOutcome::Retry,
            (ErrorCode::NONE, None) | (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _) => {
                ErrorClass::NotFound
            }
            (code, _) if code.is_retriable_for_reads() => return PartitionOutcome::Retry,
            _ => ErrorClass::Refused,
        };
        let is_new = fetch.failing_since.is_none_or(|since| since.elapsed() < MISSING);
        if class == ErrorClass::NotFound && is_new {
            return PartitionOutcome::Retry;
        }
        let why = if code == ErrorCode::NONE {
            "there is no such partition".into()
        } else {
            code.to_string()
        };
        PartitionOutcome::Failed(KafkaClientError::new(
            class,
            format!("fetching {}", fetch.id),
            why,
        ))
    }

    /// Starts the thread that fetches from `broker`, if there is none yet.
    fn start_fetcher(&self, broker: BrokerId) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.contains(&broker) {
            let mut fetcher = BrokerFetcher::new(broker, &self.buffer, &self.cluster);
            let broken = Arc::clone(&self.buffer);
            let name = format!("headwater-fetch-{broker}");
            let failed = move |why| broken.break_off(why);
            thread::spawn(name, move || fetcher.run(), failed)?;
            running.insert(broker);
        }
        Ok(())
    }
}

/// What is said of a partition's topic, and of its leader; `None` if nothing is.
fn find(topics: &[MetadataTopic], id: &PartitionId) -> Option<(ErrorCode, Option<Leader>)> {
    let topic = topics.iter().find(|topic| topic.name == id.topic)?;
    let number = usize::try_from(id.partition).ok();
    Some((topic.code, number.and_then(|number| topic.leaders.get(number).copied())))
}

fn refused(fetch: &PartitionFetch, code: ErrorCode) -> PartitionOutcome {
    let context = format!("fetching {}", fetch.id);
    PartitionOutcome::Failed(KafkaClientError::new(ErrorClass::Refused, context, code))
}

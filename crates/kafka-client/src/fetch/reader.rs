//! Reads single partitions, and knows their bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::batch::FetchedBatch;
use super::buffer::{FetchBuffer, SharedFetchBuffer};
use super::fetcher::MemoryShare;
use super::leader_finder::LeaderFinder;
use crate::Result;
use crate::cluster::{ATTEMPT, KafkaCluster, MISSING};
use crate::connection::{self, Connection, RequestError};
use crate::error::{ErrorClass, KafkaClientError};
use crate::partition::PartitionId;
use crate::protocol::ErrorCode;
use crate::requests::{Leader, ListOffsets, OffsetSpec};
use crate::settings::FetchSettings;

/// Reads single partitions from given offsets. Its threads end when it is dropped.
pub struct PartitionReader {
    cluster: Arc<KafkaCluster>,
    buffer: SharedFetchBuffer,
    /// For requests about bounds.
    brokers: BTreeMap<i32, Connection>,
    leaders: BTreeMap<Arc<str>, (Instant, Vec<Leader>)>,
    /// Since when the bounds of a partition could not be found.
    failing_since: BTreeMap<PartitionId, Instant>,
}

/// How long a leader that was looked up counts: one that is cut off from the other brokers still
/// answers, with where its partitions ended then.
const REFRESH: Duration = Duration::from_secs(1);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl PartitionReader {
    /// A reader of which at most `bytes_max` bytes may wait.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(
        cluster: Arc<KafkaCluster>,
        settings: FetchSettings,
        bytes_max: usize,
    ) -> Result<Self> {
        let buffer = Arc::new(FetchBuffer::new(settings, MemoryShare::new(bytes_max)));
        LeaderFinder::start(&buffer, &cluster)?;
        Ok(Self {
            cluster,
            buffer,
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            failing_since: BTreeMap::new(),
        })
    }

    fn find_bounds(
        &mut self,
        id: &PartitionId,
        deadline: Instant,
    ) -> connection::Result<(i64, i64)> {
        let PartitionId { topic, partition } = id;
        let now = Instant::now();
        if self.leaders.get(topic).is_none_or(|(since, _)| now.duration_since(*since) >= REFRESH) {
            if self.leaders.remove(topic).is_some() {
                self.cluster.avoid_current();
            }
            let found = self.cluster.topics(&[Arc::clone(topic)], deadline)?;
            let found = found.into_iter().next().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            found.code.ok()?;
            self.leaders.insert(Arc::clone(topic), (now, found.leaders));
        }
        let number = usize::try_from(*partition).unwrap_or(usize::MAX);
        let leader = self.leaders.get(topic).and_then(|(_, leaders)| leaders.get(number));
        let Leader { broker, epoch: leader_epoch } =
            *leader.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let mut connection = match self.brokers.remove(&broker) {
            Some(connection) => connection,
            // Kept for the next attempt, so it may take longer than this one.
            None => self.cluster.broker(broker, deadline.max(now + ATTEMPT))?,
        };
        if Instant::now() >= deadline {
            self.brokers.insert(broker, connection);
            return Err(ErrorCode::REQUEST_TIMED_OUT.into());
        }
        let partition = *partition;
        let mut offset = |spec| {
            let request = ListOffsets { topic, partition, leader_epoch, spec };
            request.call(&mut connection, deadline)
        };
        let bounds = offset(OffsetSpec::Earliest)
            .and_then(|earliest| Ok((earliest, offset(OffsetSpec::Latest)?)));
        let is_right = match &bounds {
            Ok(_) => true,
            Err(RequestError::Refused(code)) => !code.is_stale_leader(),
            Err(error) => error.keeps_connection(),
        };
        if is_right {
            self.brokers.insert(broker, connection);
        }
        bounds
    }

    /// What has to be done about an error. That depends on how long there have been some: callers
    /// that cannot wait ask often.
    fn class_of(&mut self, error: &RequestError, partition: &PartitionId) -> ErrorClass {
        let is_first = !self.failing_since.contains_key(partition);
        let since = *self.failing_since.entry(partition.clone()).or_insert_with(Instant::now);
        match error {
            RequestError::Refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                if since.elapsed() >= MISSING =>
            {
                ErrorClass::NotFound
            }
            RequestError::Refused(code) if code.is_retriable_for_reads() => {
                if *code == ErrorCode::UNKNOWN_SERVER_ERROR && is_first {
                    tracing::warn!(target: "headwater::kafka", %partition, %code, "its bounds");
                }
                ErrorClass::Retriable
            }
            error if !error.is_retriable() => ErrorClass::Refused,
            _ => ErrorClass::Retriable,
        }
    }

    /// The partition's first offset that is still there, and its end: the offset after the last
    /// record, whether committed or not.
    ///
    /// # Errors
    /// They cannot be found within `timeout`, or at all.
    pub fn bounds(&mut self, partition: &PartitionId, timeout: Duration) -> Result<(i64, i64)> {
        let deadline = Instant::now() + timeout;
        loop {
            let error = match self.find_bounds(partition, deadline) {
                Ok(bounds) => {
                    self.failing_since.remove(partition);
                    return Ok(bounds);
                }
                Err(error) => error,
            };
            let is_slow = matches!(error, RequestError::Refused(ErrorCode::REQUEST_TIMED_OUT));
            // Another broker may lead it now.
            if !is_slow && self.leaders.remove(&partition.topic).is_some() {
                self.cluster.avoid_current();
            }
            let class = self.class_of(&error, partition);
            if class != ErrorClass::Retriable || Instant::now() + PAUSE >= deadline {
                let context = format!("the bounds of {partition}");
                return Err(KafkaClientError::new(class, context, error));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Starts reading `partition` at `offset`.
    pub fn add(&self, partition: &PartitionId, offset: i64) {
        self.buffer.add(partition, Some(offset));
    }

    /// Stops reading it.
    pub fn remove(&self, partition: &PartitionId) {
        self.buffer.remove(partition);
    }

    /// Waits at most `timeout`; delivers at most about `records_max` records.
    ///
    /// # Errors
    /// A partition cannot be read, and trying again does not help; or the reader has failed.
    pub fn poll(&self, timeout: Duration, records_max: usize) -> Result<Vec<FetchedBatch>> {
        self.buffer.poll(timeout, records_max)
    }

    /// How far `partition` was read: every record before this offset was delivered. It also passes
    /// markers, aborted and compacted records.
    pub fn position(&self, partition: &PartitionId) -> Option<i64> {
        self.buffer.position(partition)
    }

    /// Bytes that were fetched and wait to be delivered.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.waiting_bytes()
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        self.buffer.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::KafkaClusters;

    #[test]
    fn a_topic_is_missing_only_after_a_while() {
        let settings = FetchSettings::plain("127.0.0.1:1");
        let cluster = KafkaClusters::default().get(settings.connection());
        let mut reader = PartitionReader::new(cluster, settings, 1 << 20).expect("threads");
        let id = PartitionId::new("t", 0);
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let mut class = |code: ErrorCode, ago: Option<Duration>| {
            let since = ago.and_then(|ago| Instant::now().checked_sub(ago));
            since.map(|since| reader.failing_since.insert(id.clone(), since));
            reader.class_of(&code.into(), &id)
        };
        assert_eq!(class(unknown, None), ErrorClass::Retriable, "it may just have been made");
        assert_eq!(class(unknown, Some(MISSING / 2)), ErrorClass::Retriable);
        assert_eq!(class(unknown, Some(MISSING)), ErrorClass::NotFound);
        assert_eq!(class(ErrorCode::UNKNOWN_SERVER_ERROR, Some(MISSING)), ErrorClass::Retriable);
        assert_eq!(class(ErrorCode::TOPIC_AUTHORIZATION_FAILED, None), ErrorClass::Refused);
    }
}

//! The thread that fetches from one broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::buffer::{FetchPlan, SharedFetchBuffer};
use super::partition::BrokerId;
use super::state::{FetchId, PartitionFetch, PartitionOutcome};
use crate::cluster::{ATTEMPT, KafkaCluster};
use crate::connection::{self, Connection, RequestError};
use crate::error::{ErrorClass, KafkaClientError};
use crate::partition::PartitionId;
use crate::protocol::ErrorCode;
use crate::records::{BufferPool, RecordsDecoder};
use crate::requests::{FetchPartition, FetchPartitionData, FetchRequest, ListOffsets, OffsetSpec};

pub(super) struct BrokerFetcher {
    broker: BrokerId,
    buffer: SharedFetchBuffer,
    cluster: Arc<KafkaCluster>,
    connection: Option<Connection>,
    pool: Arc<BufferPool>,
}

/// A broker that has fewer bytes than this is not asked again at once: a response for each single
/// record would be most of its work, and of ours.
const LITTLE: usize = 16 << 10;

/// From request to request as long as there is little.
const PAUSE: Duration = Duration::from_millis(2);

impl BrokerFetcher {
    pub(super) fn new(
        broker: BrokerId,
        buffer: &SharedFetchBuffer,
        cluster: &Arc<KafkaCluster>,
    ) -> Self {
        let buffer = Arc::clone(buffer);
        let cluster = Arc::clone(cluster);
        Self { broker, buffer, cluster, connection: None, pool: Arc::default() }
    }

    pub(super) fn run(&mut self) {
        while let Some(plan) = self.buffer.take(self.broker, None) {
            let began = Instant::now();
            let completed = self.carry_out(plan);
            let bytes = completed.iter().map(|(_, outcome)| outcome.bytes()).sum();
            self.buffer.complete(completed);
            if (1..LITTLE).contains(&bytes) {
                thread::sleep(PAUSE.saturating_sub(began.elapsed()));
            }
        }
    }

    fn carry_out(&mut self, mut plan: FetchPlan) -> Vec<(FetchId, PartitionOutcome)> {
        let deadline = Instant::now() + plan.wait + ATTEMPT;
        let mut completed = BTreeMap::new();
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.cluster.broker(self.broker, deadline),
        };
        let result = connection.and_then(|mut connection| {
            begin(&mut connection, &mut plan.partitions, &mut completed, deadline)?;
            let is_right = self.fetch(&mut connection, &plan, &mut completed, deadline)?;
            self.connection = is_right.then_some(connection);
            Ok(())
        });
        let failed = result.err();
        if let Some(error) = &failed {
            tracing::debug!(target: "headwater::kafka", broker = self.broker, %error, "fetching");
        }
        let all = plan.partitions.into_iter().map(|fetch| {
            let outcome = completed.remove(&fetch.number).unwrap_or_else(|| match &failed {
                Some(RequestError::Refused(code)) => refused(&fetch, *code),
                Some(error) if error.is_permanent() => permanent(&fetch, error),
                _ => PartitionOutcome::Retry,
            });
            (fetch.number, outcome)
        });
        let mut all: Vec<_> = all.collect();
        // Those that failed before they could be requested.
        all.extend(completed);
        all
    }

    /// Returns whether this may be the broker that it is taken for: addresses are given to others.
    fn fetch(
        &self,
        connection: &mut Connection,
        plan: &FetchPlan,
        completed: &mut BTreeMap<FetchId, PartitionOutcome>,
        deadline: Instant,
    ) -> connection::Result<bool> {
        let settings = &self.buffer.settings;
        let wanted: Vec<_> = plan.partitions.iter().filter_map(wanted).collect();
        if wanted.is_empty() {
            return Ok(true);
        }
        let mut is_right = true;
        let by_partition: BTreeMap<_, _> = plan
            .partitions
            .iter()
            .map(|fetch| ((&*fetch.id.topic, fetch.id.partition), fetch))
            .collect();
        let request = FetchRequest {
            partitions: &wanted,
            read_committed: settings.read_committed,
            wait: plan.wait,
            bytes_max: plan.bytes,
        };
        request.call(connection, deadline, |part| {
            is_right &= !part.code.is_stale_leader();
            if let Some(fetch) = by_partition.get(&(part.topic, part.partition)) {
                completed.insert(fetch.number, self.outcome(fetch, part, plan.decoded_bytes));
            }
        })?;
        Ok(is_right)
    }

    fn outcome(
        &self,
        fetch: &PartitionFetch,
        part: FetchPartitionData<'_>,
        bytes_max: usize,
    ) -> PartitionOutcome {
        let FetchPartitionData {
            code,
            high_watermark,
            last_stable_offset,
            mut aborted,
            records,
            ..
        } = part;
        match code {
            ErrorCode::NONE => {}
            code => return refused(fetch, code),
        }
        let from = fetch.position.unwrap_or(0);
        let read_committed = self.buffer.settings.read_committed;
        let aborted = &mut aborted;
        let pool = &self.pool;
        match (RecordsDecoder { from, read_committed, aborted, bytes_max, pool }).decode(records) {
            Ok(decoded) => {
                let end = if read_committed { last_stable_offset } else { high_watermark };
                PartitionOutcome::Records(decoded, end)
            }
            Err(corrupt) => {
                let context = format!("fetching {}", fetch.id);
                PartitionOutcome::Failed(KafkaClientError::new(
                    ErrorClass::Refused,
                    context,
                    corrupt,
                ))
            }
        }
    }
}

fn wanted(fetch: &PartitionFetch) -> Option<FetchPartition<'_>> {
    let PartitionId { topic, partition } = &fetch.id;
    let bytes_max = fetch.bytes;
    Some(FetchPartition { topic, partition: *partition, offset: fetch.position?, bytes_max })
}

/// Finds where partitions begin that are read from their beginning.
fn begin(
    connection: &mut Connection,
    partitions: &mut [PartitionFetch],
    completed: &mut BTreeMap<FetchId, PartitionOutcome>,
    deadline: Instant,
) -> connection::Result<()> {
    for fetch in partitions.iter_mut().filter(|fetch| fetch.position.is_none()) {
        let PartitionId { topic, partition } = &fetch.id;
        let partition = *partition;
        let spec = OffsetSpec::Earliest;
        let request = ListOffsets { topic, partition, leader_epoch: -1, spec };
        match request.call(connection, deadline) {
            Ok(offset) => fetch.position = Some(offset),
            Err(RequestError::Refused(code)) => {
                completed.insert(fetch.number, refused(fetch, code));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn permanent(fetch: &PartitionFetch, error: &RequestError) -> PartitionOutcome {
    let context = format!("fetching {}, or another partition of its broker", fetch.id);
    PartitionOutcome::Failed(KafkaClientError::new(ErrorClass::Refused, context, error.to_string()))
}

/// What an error code of a partition means.
fn refused(fetch: &PartitionFetch, code: ErrorCode) -> PartitionOutcome {
    if code.is_retriable_for_reads() {
        // The other codes tell of what happens to clusters, this one of what should not happen.
        if code == ErrorCode::UNKNOWN_SERVER_ERROR && fetch.failing_since.is_none() {
            let id = &fetch.id;
            tracing::warn!(target: "headwater::kafka", %id, %code, "fetching, trying again");
        }
        return PartitionOutcome::Retry;
    }
    if code == ErrorCode::OFFSET_OUT_OF_RANGE {
        let offset = fetch.position.unwrap_or(0);
        let context = format!("fetching {} at offset {offset}", fetch.id);
        let why = "the log no longer has (or does not have yet) this offset: records were deleted \
                   before they were processed, or the topic was deleted and created again";
        return PartitionOutcome::Refused(KafkaClientError::new(ErrorClass::Refused, context, why));
    }
    let context = format!("fetching {}", fetch.id);
    PartitionOutcome::Failed(KafkaClientError::new(ErrorClass::Refused, context, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_say_whether_to_ask_again() {
        let id = PartitionId::new("t", 0);
        let fetch =
            PartitionFetch { number: 1, id, position: Some(7), bytes: 1, failing_since: None };
        for code in [ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode::NOT_LEADER_OR_FOLLOWER] {
            assert!(matches!(refused(&fetch, code), PartitionOutcome::Retry), "{code}");
        }
        assert!(matches!(
            refused(&fetch, ErrorCode::OFFSET_OUT_OF_RANGE),
            PartitionOutcome::Refused(_)
        ));
        assert!(matches!(
            refused(&fetch, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            PartitionOutcome::Failed(_)
        ));
    }
}

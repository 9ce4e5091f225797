//! Retention and compaction of old records.

use runtime::transport::Result;
use streams_core::{Timestamp, TopicPartition};

use crate::aborted::AbortedRanges;
use crate::chunk::Chunk;
use crate::compaction::{Latest, Rewriter, Tombstones};
use crate::lock::lock;
use crate::partition::{PartitionId, PartitionLog, Segment};
use crate::shared::SharedLog;
use crate::state::LogState;
use crate::topic::{TopicConfig, TopicState};

/// How often the log runs maintenance.
pub(crate) const MAINTENANCE_INTERVAL_MS: i64 = 15_000;

/// A partition with fewer new bytes is not worth compacting unasked.
const DIRTY_BYTES_MIN: u64 = 1 << 20;

/// Where to look for expired records on disk.
#[derive(Debug)]
pub(crate) struct ExpiryRange {
    pub(crate) id: PartitionId,
    pub(crate) name: TopicPartition,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) before: Timestamp,
    /// The last segment of the range is the last of the partition.
    pub(crate) keep_last: bool,
}

/// A partition to compact.
#[derive(Debug)]
pub(crate) struct CompactionJob {
    pub(crate) id: PartitionId,
    pub(crate) name: TopicPartition,
    /// Everything below is committed or aborted, and on disk if the log has one.
    pub(crate) end: i64,
    pub(crate) aborted: AbortedRanges,
    pub(crate) tombstones: Tombstones,
}

impl SharedLog {
    /// Compacts and expires. With `all`, also partitions that are not worth compacting yet.
    pub(crate) fn maintain(&self, now: Timestamp, all: bool) -> Result<()> {
        let _one_at_a_time = lock(&self.maintenance);
        self.sync()?;
        let topics: Vec<_> = {
            let state = self.lock();
            let topics = state.topics.values();
            topics.cloned().collect()
        };
        for TopicState { name, partitions, config } in topics {
            for (partition, id) in partitions.into_iter().enumerate() {
                if let Some(retention) = config.retention() {
                    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
                    let before = now.saturating_sub(retention);
                    let (from, to) = self.expire(id, before)?;
                    if from < to {
                        tracing::info!(topic = %name, partition, from, to, before,
                            retention_ms = config.retention_ms,
                            "records expired: their timestamps are older than retention.ms");
                    }
                }
                let job = config.compact.then(|| job(&self.lock(), id, &config, now, all));
                if let Some(job) = job.flatten() {
                    self.compact(&job)?;
                }
            }
        }
        self.sync()
    }

    /// Deletes leading segments whose records are all older than `before`, but never the last
    /// segment or unstable ones. Returns the former and the new start offset.
    fn expire(&self, id: PartitionId, before: Timestamp) -> Result<(i64, i64)> {
        let mut range = {
            let state = self.lock();
            let partition = state.partition(id);
            let to = partition.cached_from.min(partition.stable());
            let keep_last = partition.tail.is_empty();
            ExpiryRange {
                id,
                name: partition.name.clone(),
                from: partition.start,
                to,
                before,
                keep_last,
            }
        };
        let began = range.from;
        if let (Some(disk), true) = (&self.disk, range.from < range.to) {
            let kept = disk.first_kept(&range)?;
            range.from = kept.unwrap_or(range.to);
            if kept.is_some() {
                self.lock().trim(id, range.from);
                return Ok((began, range.from));
            }
        }
        let mut state = self.lock();
        let start = first_kept_in_memory(state.partition(id), before).unwrap_or(range.from);
        state.trim(id, start);
        Ok((began, start))
    }

    /// Rewrites the stable part of a partition.
    fn compact(&self, job: &CompactionJob) -> Result<()> {
        if let Some(disk) = &self.disk {
            let bytes = disk.compact(job)?;
            let mut state = self.lock();
            let partition = state.partition_mut(job.id);
            partition.forget_cached(job.end);
            partition.compacted(job.end, bytes);
            return Ok(());
        }
        let segments: Vec<_> = {
            let state = self.lock();
            let tail = state.partition(job.id).tail.iter();
            tail.take_while(|segment| segment.base < job.end).cloned().collect()
        };
        let committed = || segments.iter().filter(|segment| job.is_committed(segment));
        let mut latest = Latest::default();
        committed().for_each(|segment| latest.learn(segment));
        let mut rewriter = Rewriter::new(&latest, job.tombstones);
        committed().for_each(|segment| rewriter.add(segment));
        self.lock().partition_mut(job.id).replace(job.end, rewriter.finish());
        Ok(())
    }
}

/// Whether all records of a chunk are older than `before`. Without timestamps the append date
/// counts.
pub(crate) fn is_expired(chunk: &Chunk, before: Timestamp) -> bool {
    let latest = if chunk.latest < 0 { chunk.appended } else { chunk.latest };
    latest < before
}

/// The base offset of the first segment in memory that stays, if any before it expire.
fn first_kept_in_memory(partition: &PartitionLog, before: Timestamp) -> Option<i64> {
    let last = partition.tail.back()?.base;
    let stable = partition.stable();
    let stays = |segment: &&Segment| {
        segment.base == last || segment.last() >= stable || !is_expired(&segment.chunk, before)
    };
    let first = partition.tail.iter().find(stays)?;
    (partition.tail.front()?.base < first.base).then_some(first.base.min(stable))
}

/// The compaction of a partition, if it is due.
fn job(
    state: &LogState,
    id: PartitionId,
    config: &TopicConfig,
    now: Timestamp,
    all: bool,
) -> Option<CompactionJob> {
    let partition = state.partition(id);
    let end = partition.stable();
    let dirty = partition.dirty_bytes;
    let clean = partition.clean_bytes;
    let is_worth_it = dirty >= DIRTY_BYTES_MIN
        && dirty.saturating_mul(1000)
            >= dirty.saturating_add(clean).saturating_mul(config.dirty_permille_min);
    (end > partition.start && (all || is_worth_it)).then(|| CompactionJob {
        id,
        name: partition.name.clone(),
        end,
        aborted: partition.aborted.clone(),
        tombstones: Tombstones { now, kept_ms: config.delete_retention_ms },
    })
}

impl CompactionJob {
    pub(crate) fn is_committed(&self, segment: &Segment) -> bool {
        !self.aborted.cover(segment)
    }
}

impl PartitionLog {
    /// Replaces everything below `end` with the outcome of a compaction.
    fn replace(&mut self, end: i64, segments: Vec<Segment>) {
        while self.tail.front().is_some_and(|segment| segment.base < end) {
            self.tail.pop_front();
        }
        let bytes = segments.iter().map(|segment| segment.chunk.weight() as u64).sum();
        let kept = segments.into_iter().filter(|segment| segment.last() >= self.start);
        for segment in kept.rev() {
            self.tail.push_front(segment);
        }
        self.compacted(end, bytes);
    }

    fn compacted(&mut self, end: i64, bytes: u64) {
        self.aborted.trim(end);
        self.dirty_bytes = 0;
        self.clean_bytes = bytes;
    }

    /// Drops the cached segments below `end`, which are on disk.
    fn forget_cached(&mut self, end: i64) {
        while self.tail.front().is_some_and(|segment| segment.base < end) {
            self.tail.pop_front();
        }
        self.cached_from = self.cached_from.max(end);
    }
}

#[cfg(test)]
mod tests {
    use runtime::transport::NewTopic;

    use super::*;

    /// Even the highest numbers that a row can hold do not overflow.
    #[test]
    fn the_highest_numbers_do_not_overflow() {
        let mut state = LogState::default();
        let config = vec![];
        let topic = NewTopic { name: "t".into(), partitions: 1, replication: None, config };
        state.create_topic(&topic).unwrap();
        let partition = state.partition_mut(0);
        partition.dirty_bytes = u64::MAX;
        partition.clean_bytes = u64::MAX;
        let mut chunk = Chunk::default();
        let new = crate::chunk::NewRecord { key: None, value: None, timestamp: 0, headers: b"" };
        chunk.push(0, new);
        state.append(0, chunk, None);
        let config = TopicConfig { delete_retention_ms: i64::MAX, ..TopicConfig::default() };
        let job = job(&state, 0, &config, i64::MIN, false).unwrap();
        assert_eq!(job.end, 1);
    }
}

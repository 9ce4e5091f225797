//! Compaction on disk. Each step rewrites a few megabytes in its own transaction, so that commits
//! do not wait for the whole partition. After every step the log is correct: a crash may stop
//! compaction anywhere.

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use runtime::transport::Result;

use super::layout::{self, corrupt, place};
use super::ledger::Ledger;
use super::segment_chain::{SegmentChain, open_segment, partition_row};
use super::{Bytes, Disk, PARTITIONS, RedbResult, SEGMENTS};
use crate::compaction::{Latest, Rewriter};
use crate::maintenance::CompactionJob;
use crate::partition::Segment;

/// How many bytes one step rewrites.
const STEP_BYTES: usize = 4 << 20;

/// The progress of a compaction.
struct CompactionStep {
    /// The first offset of the next step.
    from: i64,
    /// Where the segment before that ends. Unknown before the first step, which keeps it.
    after: Option<i64>,
    is_last: bool,
    /// How many bytes remain so far.
    bytes: u64,
}

impl Disk {
    /// Compacts the stable part of a partition; returns how many bytes remain.
    pub(crate) fn compact(&self, job: &CompactionJob) -> Result<u64> {
        self.run_compaction(job).map_err(|error| self.error("compact", &error))
    }

    fn run_compaction(&self, job: &CompactionJob) -> RedbResult<u64> {
        let latest = self.with(|database| self.learn(database, job))?;
        let mut step = CompactionStep { from: 0, after: None, is_last: false, bytes: 0 };
        while !step.is_last {
            let mut writer = self.lock();
            step = self.commit(&mut writer, 0, |transaction, ledger| {
                self.compact_step(transaction, ledger, job, &latest, step)
            })?;
        }
        Ok(step.bytes)
    }

    fn learn(&self, database: &Database, job: &CompactionJob) -> RedbResult<Latest> {
        let mut latest = Latest::default();
        let read = database.begin_read()?;
        let mut chain =
            SegmentChain::from_first(&job.name, partition_row(&read, self.seal(), job.id)?);
        let table = read.open_table(SEGMENTS)?;
        for row in table.range(&place(job.id, 0)[..]..&place(job.id, job.end)[..])? {
            let (key, value) = row?;
            let key = key.value();
            let value = value.value();
            let linked = open_segment(self.seal(), self.format, job.id, &job.name, key, value)?;
            let segment = chain.follow(linked)?;
            if job.is_committed(&segment) {
                latest.learn(&segment);
            }
        }
        Ok(latest)
    }

    fn compact_step(
        &self,
        transaction: &WriteTransaction,
        ledger: &mut Ledger,
        job: &CompactionJob,
        latest: &Latest,
        mut step: CompactionStep,
    ) -> RedbResult<CompactionStep> {
        let mut table: Bytes<'_> = transaction.open_table(SEGMENTS)?;
        let mut rewriter = Rewriter::new(latest, job.tombstones);
        let mut keys = Vec::new();
        let mut read = 0;
        let mut next = None;
        for row in table.range(&place(job.id, step.from)[..]..&place(job.id, job.end)[..])? {
            let (key, value) = row?;
            let key = key.value();
            let value = value.value();
            let linked = open_segment(ledger.seal, self.format, job.id, &job.name, key, value)?;
            if read > STEP_BYTES {
                next = Some(linked.segment.base);
                break;
            }
            step.after.get_or_insert(linked.after);
            read += linked.segment.chunk.weight();
            keys.push(key.to_vec());
            if job.is_committed(&linked.segment) {
                rewriter.add(&linked.segment);
            }
        }
        for key in &keys {
            ledger.remove_segment(&mut table, key)?;
        }
        let kept = rewriter.finish();
        step.bytes += kept.iter().map(|segment| segment.chunk.weight() as u64).sum::<u64>();
        if let Some(mut after) = step.after {
            put_kept(&mut table, ledger, job, &kept, &mut after)?;
            self.join(transaction, table, ledger, job, after)?;
            step.after = Some(after);
        }
        if next.is_none() {
            // The records of these ranges are gone.
            ledger.forget_aborted(transaction, job.id, job.end)?;
        }
        Ok(CompactionStep { from: next.unwrap_or(job.end), is_last: next.is_none(), ..step })
    }

    /// Links the segment after a step to the step's last segment, which ends at `after`.
    fn join(
        &self,
        transaction: &WriteTransaction,
        mut table: Bytes<'_>,
        ledger: &mut Ledger,
        job: &CompactionJob,
        after: i64,
    ) -> RedbResult<()> {
        let from = place(job.id, after);
        let to = place(job.id, i64::MAX);
        let next = match table.range(&from[..]..=&to[..])?.next() {
            Some(row) => Some(row?.0.value().to_vec()),
            None => None,
        };
        if let Some(key) = next {
            return ledger.relink(&mut table, &key, after);
        }
        *ledger.end_mut(job.id) = after;
        let key = layout::id(job.id);
        let value = match transaction.open_table(PARTITIONS)?.get(&key[..])? {
            Some(row) => layout::unseal(ledger.seal, PARTITIONS, &key, row.value())?.to_vec(),
            None => return Err(corrupt("the row of a partition is missing")),
        };
        let mut row = layout::read_partition(&value).ok_or_else(|| corrupt("a partition"))?;
        row.segments_end = after;
        ledger.put(transaction, PARTITIONS, &key, layout::partition(&row))
    }
}

fn put_kept(
    table: &mut Bytes<'_>,
    ledger: &mut Ledger,
    job: &CompactionJob,
    kept: &[Segment],
    after: &mut i64,
) -> RedbResult<()> {
    let mut value = Vec::new();
    for segment in kept {
        ledger.put_segment(table, job.id, segment, *after, &mut value)?;
        *after = segment.last() + 1;
    }
    Ok(())
}

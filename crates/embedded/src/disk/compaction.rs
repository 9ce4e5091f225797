//! Compaction on disk: the partition is rewritten a few megabytes at a time, each in a transaction
//! of its own, so that commits do not wait for all of it. Whatever it has come to when the process
//! dies is right as it is.

use redb::{ReadableDatabase, ReadableTable};
use runtime::transport::Result;

use super::layout::{self, place};
use super::{ABORTED, Bytes, Disk, RedbResult, SEGMENTS, put_segments};
use crate::compact::{Latest, Rewriter};
use crate::error::fatal;
use crate::maintain::Job;

/// How much is rewritten at once.
const STEP_BYTES: usize = 4 << 20;

/// What one step has done.
struct Step {
    /// Where the next one begins; `None` at the end.
    next: Option<i64>,
    /// How much was left.
    bytes: u64,
}

impl Disk {
    /// Compacts the stable part of a partition; returns how many bytes are left of it.
    pub(crate) fn compact(&self, job: &Job) -> Result<u64> {
        self.run_compaction(job)
            .map_err(|e| fatal(format!("compact the embedded log in {self}"), e.to_string()))
    }

    fn run_compaction(&self, job: &Job) -> RedbResult<u64> {
        let latest = self.learn(job)?;
        let (mut next, mut bytes) = (Some(0), 0);
        while let Some(from) = next {
            let step = self.compact_step(job, &latest, from)?;
            next = step.next;
            bytes += step.bytes;
        }
        Ok(bytes)
    }

    fn learn(&self, job: &Job) -> RedbResult<Latest> {
        let mut latest = Latest::default();
        let table = self.database.begin_read()?.open_table(SEGMENTS)?;
        for row in table.range(&place(job.id, 0)[..]..&place(job.id, job.end)[..])? {
            let (key, value) = row?;
            let segment = layout::read_segment(key.value(), value.value())?;
            if job.is_committed(&segment) {
                latest.learn(&segment);
            }
        }
        Ok(latest)
    }

    fn compact_step(&self, job: &Job, latest: &Latest, from: i64) -> RedbResult<Step> {
        let _writer = self.lock();
        let transaction = self.database.begin_write()?;
        let mut rewriter = Rewriter::new(latest, job.tombstones);
        let (mut keys, mut read, mut next) = (Vec::new(), 0, None);
        {
            let table: Bytes<'_> = transaction.open_table(SEGMENTS)?;
            for row in table.range(&place(job.id, from)[..]..&place(job.id, job.end)[..])? {
                let (key, value) = row?;
                let segment = layout::read_segment(key.value(), value.value())?;
                if read > STEP_BYTES {
                    next = Some(segment.base);
                    break;
                }
                read += segment.chunk.weight();
                keys.push(key.value().to_vec());
                if job.is_committed(&segment) {
                    rewriter.add(&segment);
                }
            }
        }
        {
            let mut table: Bytes<'_> = transaction.open_table(SEGMENTS)?;
            for key in &keys {
                table.remove(&key[..])?;
            }
        }
        let kept: Vec<_> = rewriter.finish().into_iter().map(|s| (job.id, s)).collect();
        put_segments(&transaction, kept.iter())?;
        if next.is_none() {
            // Nothing that these ranges are about is left.
            let mut aborted: Bytes<'_> = transaction.open_table(ABORTED)?;
            let (first, end) = (place(job.id, 0), place(job.id, job.end));
            aborted.retain_in(&first[..]..&end[..], |_, _| false)?;
        }
        transaction.commit()?;
        let bytes = kept.iter().map(|(_, segment)| segment.chunk.weight() as u64).sum();
        Ok(Step { next, bytes })
    }
}

//! The ledger counts the rows of a log's tables and sums their checksums. It is written with each
//! commit, so that a missing, added or stale row is noticed.

use redb::{ReadableTable, TableHandle, WriteTransaction};

use super::layout::{self, corrupt};
use super::seal::{Seal, checksum_of};
use super::{
    ABORTED, Bytes, Definition, META, OFFSETS, PARTITIONS, RedbResult, SEGMENTS, TOPICS,
    TRANSACTIONAL,
};
use crate::partition::{PartitionId, Segment};

/// The tables whose rows are counted. Segments also name their predecessors, for readers that read
/// only some of them.
pub(super) const COUNTED: [Definition; 6] =
    [TOPICS, PARTITIONS, SEGMENTS, ABORTED, TRANSACTIONAL, OFFSETS];

/// How many rows a table has, and what their checksums add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    pub(super) checksums: u64,
}

impl Sum {
    pub(super) fn add(&mut self, sealed: &[u8]) -> RedbResult<()> {
        let checksum = checksum_of(sealed).ok_or_else(|| corrupt("a row without a checksum"))?;
        self.rows = self.rows.wrapping_add(1);
        self.checksums = self.checksums.wrapping_add(checksum.into());
        Ok(())
    }

    pub(super) fn remove(&mut self, sealed: &[u8]) -> RedbResult<()> {
        let checksum = checksum_of(sealed).ok_or_else(|| corrupt("a row without a checksum"))?;
        self.rows = self.rows.wrapping_sub(1);
        self.checksums = self.checksums.wrapping_sub(checksum.into());
        Ok(())
    }
}

/// The account.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) seal: Seal,
    pub(super) commits: u64,
    /// The next producer id.
    pub(super) producers: i64,
    /// In the order of [`COUNTED`].
    pub(super) sums: [Sum; COUNTED.len()],
    /// Where the last segment of each partition ends, which the next segment records.
    pub(super) ends: Vec<i64>,
}

impl Ledger {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal, commits: 0, producers: 0, sums: Default::default(), ends: Vec::new() }
    }

    /// The sum of a table.
    pub(super) fn sum(&self, table: Definition) -> Sum {
        let index = COUNTED.iter().position(|counted| counted.name() == table.name());
        index.and_then(|index| self.sums.get(index)).copied().unwrap_or_default()
    }

    /// The mutable sum of a table; `None` if it is not counted.
    pub(super) fn sum_mut(&mut self, table: Definition) -> Option<&mut Sum> {
        let index = COUNTED.iter().position(|counted| counted.name() == table.name())?;
        self.sums.get_mut(index)
    }

    pub(super) fn end_mut(&mut self, id: PartitionId) -> &mut i64 {
        let index = id as usize;
        if index >= self.ends.len() {
            self.ends.resize(index + 1, 0);
        }
        &mut self.ends[index]
    }

    /// Writes a row, replacing the current one.
    pub(super) fn put(
        &mut self,
        transaction: &WriteTransaction,
        table: Definition,
        key: &[u8],
        mut value: Vec<u8>,
    ) -> RedbResult<()> {
        self.seal.add(table.name(), key, &mut value);
        let mut rows: Bytes<'_> = transaction.open_table(table)?;
        let former = rows.insert(key, &value[..])?;
        if let Some(sum) = self.sum_mut(table) {
            former.map_or(Ok(()), |former| sum.remove(former.value()))?;
            sum.add(&value)?;
        }
        Ok(())
    }

    /// Removes the aborted ranges of a partition whose markers lie below `before`.
    pub(super) fn forget_aborted(
        &mut self,
        transaction: &WriteTransaction,
        id: PartitionId,
        before: i64,
    ) -> RedbResult<()> {
        self.remove_where(transaction, ABORTED, id, before, |_, _| true)
    }

    /// Removes the segments of a partition that end below `start`.
    pub(super) fn trim(
        &mut self,
        transaction: &WriteTransaction,
        id: PartitionId,
        start: i64,
    ) -> RedbResult<()> {
        self.remove_where(transaction, SEGMENTS, id, start, |key, value| {
            layout::last_offset(key, value).is_some_and(|last| last < start)
        })
    }

    /// Removes the rows of a partition below `before` that `goes` selects.
    fn remove_where(
        &mut self,
        transaction: &WriteTransaction,
        table: Definition,
        id: PartitionId,
        before: i64,
        goes: impl Fn(&[u8], &[u8]) -> bool,
    ) -> RedbResult<()> {
        let mut rows: Bytes<'_> = transaction.open_table(table)?;
        let from = layout::place(id, 0);
        let to = layout::place(id, before);
        let mut unused = Sum::default();
        let mut failed = Ok(());
        let sum = self.sum_mut(table).unwrap_or(&mut unused);
        rows.retain_in(&from[..]..&to[..], |key, value| {
            let is_there = layout::read_place(key).is_some_and(|(of, at)| of == id && at < before);
            let goes = is_there && failed.is_ok() && goes(key, value);
            if goes {
                failed = sum.remove(value);
            }
            !goes
        })?;
        failed
    }

    /// Appends segments, each with the end of its predecessor.
    pub(super) fn append<'a>(
        &mut self,
        transaction: &WriteTransaction,
        segments: impl Iterator<Item = &'a (PartitionId, Segment)>,
    ) -> RedbResult<()> {
        let mut table: Bytes<'_> = transaction.open_table(SEGMENTS)?;
        let mut buffer = Vec::new();
        for (id, segment) in segments {
            let after = *self.end_mut(*id);
            self.put_segment(&mut table, *id, segment, after, &mut buffer)?;
            *self.end_mut(*id) = segment.last() + 1;
        }
        Ok(())
    }

    /// Writes a segment whose predecessor ends at `after`. `buffer` is scratch space.
    pub(super) fn put_segment(
        &mut self,
        table: &mut Bytes<'_>,
        id: PartitionId,
        segment: &Segment,
        after: i64,
        buffer: &mut Vec<u8>,
    ) -> RedbResult<()> {
        layout::segment(segment, after, buffer);
        self.insert_segment(table, &layout::place(id, segment.base), buffer)
    }

    fn insert_segment(
        &mut self,
        table: &mut Bytes<'_>,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> RedbResult<()> {
        self.seal.add(SEGMENTS.name(), key, value);
        let former = table.insert(key, &value[..])?;
        if let Some(sum) = self.sum_mut(SEGMENTS) {
            former.map_or(Ok(()), |former| sum.remove(former.value()))?;
            sum.add(value)?;
        }
        Ok(())
    }

    pub(super) fn remove_segment(&mut self, table: &mut Bytes<'_>, key: &[u8]) -> RedbResult<()> {
        match (table.remove(key)?, self.sum_mut(SEGMENTS)) {
            (Some(former), Some(sum)) => sum.remove(former.value()),
            _ => Ok(()),
        }
    }

    /// Changes the predecessor's end in the segment at `key` to `after`.
    pub(super) fn relink(
        &mut self,
        table: &mut Bytes<'_>,
        key: &[u8],
        after: i64,
    ) -> RedbResult<()> {
        let mut value = match table.get(key)? {
            Some(row) => layout::unseal(self.seal, SEGMENTS, key, row.value())?.to_vec(),
            None => return Err(corrupt("a segment is missing")),
        };
        layout::set_after(&mut value, after);
        self.insert_segment(table, key, &mut value)
    }

    /// Writes the ledger itself, counting one more commit.
    pub(super) fn close(&mut self, transaction: &WriteTransaction) -> RedbResult<()> {
        self.commits += 1;
        let row = layout::ledger(self);
        self.put(transaction, META, layout::LEDGER, row)
    }
}

//! Reading everything on disk except the records: the small tables are read whole, and must add up
//! to the ledger.

use redb::{AccessGuard, ReadTransaction, ReadableTable, ReadableTableMetadata, TableHandle};
use streams_core::TopicPartition;

use super::layout::{self, LogFormat, PartitionRow, corrupt};
use super::ledger::{Ledger, Sum};
use super::seal::Seal;
use super::segment_chain::{SegmentChain, open_segment};
use super::{
    ABORTED, Definition, META, OFFSETS, PARTITIONS, RedbResult, SEGMENTS, TOPICS, TRANSACTIONAL,
};
use crate::partition::{PartitionId, Segment};
use crate::state::LogState;
use crate::unflushed::UnflushedChanges;

/// A log as one read transaction sees it.
pub(super) struct Snapshot {
    read: ReadTransaction,
    format: LogFormat,
    seal: Seal,
}

/// The contents of the small tables.
pub(super) struct Loaded {
    pub(super) state: LogState,
    pub(super) ledger: Ledger,
    pub(super) rows: Vec<PartitionRow>,
    /// How many committed offsets could not be read, if loading is forgiving.
    pub(super) offsets_lost: u64,
}

impl Snapshot {
    pub(super) fn new(read: ReadTransaction, format: LogFormat) -> Self {
        let seal = match format {
            LogFormat::One => Seal::of(&[0; 16]),
            LogFormat::Two(log) => Seal::of(&log),
        };
        Self { read, format, seal }
    }

    /// Loads all but the segments. With `forgiving`, committed offsets that are damaged or missing
    /// are only counted.
    pub(super) fn load(&self, forgiving: bool) -> RedbResult<Loaded> {
        let mut state =
            LogState { unflushed: Some(UnflushedChanges::default()), ..LogState::default() };
        let mut ledger = self.ledger()?;
        let names = self.load_topics(&mut state, &mut ledger)?;
        let rows = self.load_partitions(&mut state, names, &mut ledger)?;
        self.load_aborted(&mut state, &mut ledger)?;
        self.load_transactional(&mut state, &mut ledger)?;
        let offsets_lost = self.load_offsets(&mut state, &mut ledger, forgiving)?;
        state.producers = ledger.producers;
        Ok(Loaded { state, ledger, rows, offsets_lost })
    }

    fn ledger(&self) -> RedbResult<Ledger> {
        let meta = self.read.open_table(META)?;
        let mut ledger = Ledger::new(self.seal);
        if self.format == LogFormat::One {
            if let Some(next) = meta.get(layout::NEXT_PRODUCER)? {
                let next = layout::read_number(next.value()).filter(|next| *next >= 0);
                ledger.producers = next.ok_or_else(|| corrupt("the next producer id"))?;
            }
            return Ok(ledger);
        }
        let row = meta.get(layout::LEDGER)?.ok_or_else(|| corrupt("the ledger is missing"))?;
        let row = layout::unseal(self.seal, META, layout::LEDGER, row.value())?;
        layout::read_ledger(self.seal, row).ok_or_else(|| corrupt("the ledger cannot be read"))
    }

    /// Loads the topics; returns the names of the partitions by their ids.
    fn load_topics(
        &self,
        state: &mut LogState,
        ledger: &mut Ledger,
    ) -> RedbResult<Vec<Option<TopicPartition>>> {
        // A damaged topic may claim more partitions than there are rows: do not allocate for those.
        let count = self.read.open_table(PARTITIONS)?.len()?;
        let mut names = Vec::new();
        self.each(TOPICS, ledger, |key, value| {
            let topic = layout::read_topic(key, value)?;
            for (number, id) in topic.partitions.iter().enumerate() {
                let index = *id as usize;
                if u64::from(*id) >= count {
                    return None;
                }
                names.resize(names.len().max(index + 1), None);
                let name = TopicPartition::new(topic.name.clone(), number as i32);
                if names[index].replace(name).is_some() {
                    return None;
                }
            }
            state.topics.insert(topic.name.clone(), topic);
            Some(())
        })?;
        Ok(names)
    }

    fn load_partitions(
        &self,
        state: &mut LogState,
        names: Vec<Option<TopicPartition>>,
        ledger: &mut Ledger,
    ) -> RedbResult<Vec<PartitionRow>> {
        let count = names.len();
        let mut names = names.into_iter();
        let mut rows = Vec::new();
        self.each(PARTITIONS, ledger, |key, value| {
            // Rows come in the order of their ids, without gaps.
            let row = layout::read_partition(value)?;
            let id = layout::read_id(key)?;
            state.partitions.push(row.load(names.next()??));
            rows.push(row);
            (id as usize + 1 == rows.len()).then_some(())
        })?;
        if rows.len() != count {
            return Err(corrupt("a partition is missing"));
        }
        ledger.ends = rows.iter().map(|row| row.segments_end).collect();
        Ok(rows)
    }

    fn load_aborted(&self, state: &mut LogState, ledger: &mut Ledger) -> RedbResult<()> {
        self.each(ABORTED, ledger, |key, value| {
            let (id, aborted) = layout::read_aborted(key, value)?;
            let partition = state.partitions.get_mut(id as usize)?;
            (aborted.marker < partition.end).then(|| partition.aborted.insert(aborted))
        })
    }

    fn load_transactional(&self, state: &mut LogState, ledger: &mut Ledger) -> RedbResult<()> {
        self.each(TRANSACTIONAL, ledger, |key, value| {
            let id = layout::read_text(key)?;
            let holder = layout::read_transactional(value)?;
            for (partition, first) in holder.open.iter().flat_map(|open| &open.partitions) {
                let partition = state.partitions.get_mut(*partition as usize)?;
                if !(0..=partition.end).contains(first) {
                    return None;
                }
                partition.open.insert(holder.producer, *first);
            }
            state.transactional.insert(id, holder);
            Some(())
        })
    }

    /// Returns how many were lost.
    fn load_offsets(
        &self,
        state: &mut LogState,
        ledger: &mut Ledger,
        forgiving: bool,
    ) -> RedbResult<u64> {
        let mut put = |key: &[u8], value: &[u8]| {
            let (group, partition) = layout::read_offset_key(key)?;
            let committed = layout::read_committed(value)?;
            state.group(&group).offsets.commit(partition, committed);
            Some(())
        };
        if !forgiving {
            return self.each(OFFSETS, ledger, put).map(|()| 0);
        }
        let expected = ledger.sum(OFFSETS);
        let mut found = Sum::default();
        let mut unread = 0;
        for row in self.read.open_table(OFFSETS)?.iter()? {
            let (key, value) = row?;
            let opened = self.unseal(OFFSETS, key.value(), value.value());
            match opened.ok().and_then(|value| put(key.value(), value)) {
                Some(()) => found.add(value.value())?,
                None => unread += 1,
            }
        }
        // A stale offset in place of a later one cannot be told from the real one.
        let lost = unread.max(expected.rows.saturating_sub(found.rows));
        match lost == 0 && found != expected {
            true => Err(corrupt("some committed offsets are stale")),
            false => Ok(lost),
        }
    }

    fn unseal<'a>(&self, table: Definition, key: &[u8], value: &'a [u8]) -> RedbResult<&'a [u8]> {
        match self.format {
            LogFormat::One => Ok(value),
            LogFormat::Two(_) => layout::unseal(self.seal, table, key, value),
        }
    }

    /// Reads all rows of a counted table; `read` returns `None` for a row that cannot be decoded.
    fn each(
        &self,
        table: Definition,
        ledger: &mut Ledger,
        mut read: impl FnMut(&[u8], &[u8]) -> Option<()>,
    ) -> RedbResult<()> {
        let mut found = Sum::default();
        for row in self.read.open_table(table)?.iter()? {
            let (key, value) = row?;
            let opened = self.unseal(table, key.value(), value.value())?;
            let done = read(key.value(), opened);
            done.ok_or_else(|| corrupt(format!("a row of {} cannot be read", table.name())))?;
            if self.format != LogFormat::One {
                found.add(value.value())?;
            }
        }
        let expected = ledger.sum_mut(table);
        if self.format != LogFormat::One && expected.is_some_and(|expected| *expected != found) {
            let table = table.name();
            let found = found.rows;
            return Err(corrupt(format!(
                "{table} has {found} rows that differ from those written"
            )));
        }
        Ok(())
    }

    /// Passes all segments, or only the last one of each partition, to `take`.
    pub(super) fn walk(
        &self,
        loaded: &Loaded,
        only_last: bool,
        mut take: impl FnMut(PartitionId, Segment) -> RedbResult<()>,
    ) -> RedbResult<()> {
        let table = self.read.open_table(SEGMENTS)?;
        let mut found = Sum::default();
        for (id, row) in (0..).zip(&loaded.rows) {
            let name = &loaded.state.partition(id).name;
            let from = layout::place(id, 0);
            let to = layout::place(id, i64::MAX);
            let mut rows = table.range(&from[..]..=&to[..])?;
            let mut chain = match self.format {
                LogFormat::One => SegmentChain::unlinked(name, *row),
                LogFormat::Two(_) => SegmentChain::from_first(name, *row),
            };
            let mut follow = |chain: &mut SegmentChain<'_>, row: Row| {
                let (key, value) = row?;
                let key = key.value();
                let value = value.value();
                let linked = open_segment(self.seal, self.format, id, name, key, value)?;
                found.add(value)?;
                take(id, chain.follow(linked)?)
            };
            match only_last {
                true => {
                    if let Some(last) = rows.next_back() {
                        chain = SegmentChain::from_any(name, *row);
                        follow(&mut chain, last)?;
                    }
                }
                false => rows.try_for_each(|row| follow(&mut chain, row))?,
            }
            chain.finish()?;
        }
        let beyond = layout::place(loaded.rows.len() as PartitionId, 0);
        if table.range(&beyond[..]..)?.next().is_some() {
            return Err(corrupt("some records belong to a partition that does not exist"));
        }
        let is_other = self.format != LogFormat::One && loaded.ledger.sum(SEGMENTS) != found;
        match is_other && !only_last {
            true => Err(corrupt("it has records that were later deleted or replaced")),
            false => Ok(()),
        }
    }
}

type Row = Result<
    (AccessGuard<'static, &'static [u8]>, AccessGuard<'static, &'static [u8]>),
    redb::StorageError,
>;

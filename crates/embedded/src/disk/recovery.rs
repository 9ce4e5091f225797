//! Opening a log: reading what is there, and ending what a dead process has left open.

use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableError};
use runtime::transport::Result;
use streams_core::TopicPartition;

use super::layout::{self, VERSION, corrupt};
use super::{
    ABORTED, Definition, Disk, META, OFFSETS, PARTITIONS, RedbResult, SEGMENTS, TOPICS,
    TRANSACTIONAL,
};
use crate::dirty::Dirty;
use crate::error::{fatal, refused};
use crate::partition::Partition;
use crate::state::State;

impl Disk {
    /// The state of the log as it was last written, with nothing open.
    pub(crate) fn recover(&self) -> Result<State> {
        let failed =
            |e: redb::Error| fatal(format!("open the embedded log in {self}"), e.to_string());
        self.check_format()?;
        let mut state = self.load().map_err(failed)?;
        let open = state.transactional.iter().filter(|(_, holder)| holder.open.is_some());
        let open: Vec<Arc<str>> = open.map(|(id, _)| id.clone()).collect();
        for id in &open {
            tracing::info!(transactional.id = %id, "aborting what a dead process has left open");
            state.abort_open(id);
        }
        let batch = self.take_batch(&mut state);
        self.write(&batch).map_err(failed)?;
        self.lock().written = batch.changes;
        batch.show(&mut state);
        tracing::info!(
            place = %self,
            topics = state.topics.len(),
            aborted = open.len(),
            "embedded log opened",
        );
        Ok(state)
    }

    /// Refuses a database that is not a log, or of a version that this program does not know; makes
    /// a new one a log.
    fn check_format(&self) -> Result<()> {
        let context = || format!("open the embedded log in {self}");
        let found = self.prepare().map_err(|e| fatal(context(), e.to_string()))?;
        match layout::read_format(&found) {
            Some(VERSION) => Ok(()),
            Some(other) => {
                let why = format!("its format has version {other}, this program reads {VERSION}");
                Err(refused(context(), why))
            }
            None => Err(refused(context(), "this is not a Headwater log")),
        }
    }

    /// Makes sure that all tables are there; returns the format's record.
    fn prepare(&self) -> RedbResult<Vec<u8>> {
        let found = match self.database.begin_read()?.open_table(META) {
            Ok(meta) => meta.get(layout::FORMAT)?.map(|value| value.value().to_vec()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let transaction = self.database.begin_write()?;
        if transaction.list_tables()?.next().is_some() {
            return Ok(Vec::new());
        }
        for table in [TOPICS, PARTITIONS, SEGMENTS, ABORTED, TRANSACTIONAL, OFFSETS] {
            transaction.open_table(table)?;
        }
        transaction.open_table(META)?.insert(layout::FORMAT, &layout::format()[..])?;
        transaction.commit()?;
        Ok(layout::format())
    }

    fn load(&self) -> RedbResult<State> {
        let mut state = State { dirty: Some(Dirty::default()), ..State::default() };
        let names = self.load_topics(&mut state)?;
        let meta = self.database.begin_read()?.open_table(META)?;
        if let Some(next) = meta.get(layout::NEXT_PRODUCER)? {
            state.producers =
                layout::read_number(next.value()).ok_or_else(|| corrupt("the next producer id"))?;
        }
        self.load_partitions(&mut state, names)?;
        self.each(OFFSETS, |key, value| {
            let (group, partition) = layout::read_offset_key(key)?;
            let committed = layout::read_committed(value)?;
            state.group(&group).offsets.commit(partition, committed);
            Some(())
        })?;
        self.each(TRANSACTIONAL, |key, value| {
            let (id, holder) = (layout::read_text(key)?, layout::read_transactional(value)?);
            for (partition, first) in holder.open.iter().flat_map(|open| &open.partitions) {
                let partition = state.partitions.get_mut(*partition as usize)?;
                partition.open.insert(holder.producer, *first);
            }
            state.transactional.insert(id, holder);
            Some(())
        })?;
        Ok(state)
    }

    /// Loads the topics; returns the names of the partitions by their ids.
    fn load_topics(&self, state: &mut State) -> RedbResult<Vec<Option<TopicPartition>>> {
        let mut names = Vec::new();
        self.each(TOPICS, |key, value| {
            let topic = layout::read_topic(key, value)?;
            for (number, id) in topic.partitions.iter().enumerate() {
                let index = *id as usize;
                names.resize(names.len().max(index + 1), None);
                names[index] = Some(TopicPartition::new(topic.name.clone(), number as i32));
            }
            state.topics.insert(topic.name.clone(), topic);
            Some(())
        })?;
        Ok(names)
    }

    fn load_partitions(
        &self,
        state: &mut State,
        names: Vec<Option<TopicPartition>>,
    ) -> RedbResult<()> {
        let count = names.len();
        let mut names = names.into_iter();
        self.each(PARTITIONS, |key, value| {
            // They come in the order of their ids, without gaps.
            let partition: Partition = layout::read_partition(names.next()??, value)?;
            let id = layout::read_id(key)?;
            (id as usize == state.partitions.len()).then(|| state.partitions.push(partition))
        })?;
        if state.partitions.len() != count {
            return Err(corrupt("a partition"));
        }
        for row in self.database.begin_read()?.open_table(ABORTED)?.iter()? {
            let (key, value) = row?;
            let (id, aborted) = super::read_aborted(key.value(), value.value())?;
            let partition = state.partitions.get_mut(id as usize);
            partition.ok_or_else(|| corrupt("an aborted range"))?.aborted.insert(aborted);
        }
        Ok(())
    }

    /// Reads all of a table; `read` gives `None` for what cannot be.
    fn each(
        &self,
        table: Definition,
        mut read: impl FnMut(&[u8], &[u8]) -> Option<()>,
    ) -> RedbResult<()> {
        for row in self.database.begin_read()?.open_table(table)?.iter()? {
            let (key, value) = row?;
            read(key.value(), value.value()).ok_or_else(|| corrupt("a record"))?;
        }
        Ok(())
    }
}

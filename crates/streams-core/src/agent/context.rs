//! What an agent can do besides computing: tables and sends.

use std::marker::PhantomData;
use std::sync::Arc;

use super::link::{Link, LinkState};
use super::rows_read::{Noted, RowsRead};
use crate::error::Failure;
use crate::operators::table_rows::set_row;
use crate::reader::{KeptWindows, WindowCell, row};
use crate::record::{Headers, Record, Timestamp};
use crate::record_id::RecordId;
use crate::state::row_bytes::RowBytes;
use crate::state::tables::TableIndex;
use crate::table::Table;
use crate::task_context::{Outlet, TaskContext};
use crate::topic::Topic;

/// An agent's view of its task. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub(crate) link: Arc<Link>,
    pub(crate) declared: Arc<Declared>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// What the agent's builder declared, so that the topology could be checked.
pub(crate) struct Declared {
    pub(crate) agent: Arc<str>,
    pub(crate) tables: Vec<(Arc<str>, TableIndex, TableUse)>,
    /// The windows of the tables that it reads.
    pub(crate) windows: Vec<(TableIndex, WindowCell)>,
    pub(crate) topics: Vec<Arc<str>>,
}

impl Declared {
    /// The windows of a table, if it has windows.
    pub(super) fn kept_windows(&self, table: TableIndex) -> Option<&Arc<dyn KeptWindows>> {
        self.windows.iter().find(|(index, _)| *index == table)?.1.get()
    }

    fn writes(&self, table: TableIndex) -> bool {
        self.tables.iter().any(|(_, index, access)| *index == table && *access == TableUse::Write)
    }
}

/// What an agent may do with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableUse {
    Read,
    Write,
}

crate::debug_is_display!(AgentError);

/// An agent's call that was refused or failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It used a table that it did not declare.
    #[error(
        "the agent {agent} {verb} the table {table} without declaring it: add .{declare}(&{table})"
    )]
    UndeclaredTable {
        /// The agent.
        agent: Arc<str>,
        /// The table.
        table: Arc<str>,
        /// `reads` or `writes`.
        verb: &'static str,
        /// The builder method that is missing.
        declare: &'static str,
    },
    /// It sent to a topic that it did not declare.
    #[error("the agent {agent} sends to {topic} without declaring it: add .sends(&…)")]
    UndeclaredTopic {
        /// The agent.
        agent: Arc<str>,
        /// The topic.
        topic: Arc<str>,
    },
    /// It was called from outside the agent, for example from a spawned task.
    #[error(
        "the context of the agent {agent} was used while the agent was not running: tables and \
             sends belong to the agent's own future, not to a task that it spawned"
    )]
    Outside {
        /// The agent.
        agent: Arc<str>,
    },
    /// Encoding, decoding or the store failed.
    #[error("the agent {agent}: {cause}")]
    Failed {
        /// The agent.
        agent: Arc<str>,
        /// What failed.
        cause: String,
    },
}

impl Context {
    /// Sends a record to `topic` with the timestamp and the headers of the current record.
    pub fn send<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        key: K,
        value: V,
    ) -> Result<(), AgentError> {
        self.send_with(topic, |cx| Record { key, value, timestamp: cx.origin.timestamp })
    }

    /// Sends a record with its own timestamp.
    pub fn send_at<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        record: Record<K, V>,
    ) -> Result<(), AgentError> {
        self.send_with(topic, |_| record)
    }

    fn send_with<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        record: impl FnOnce(&TaskContext) -> Record<K, V>,
    ) -> Result<(), AgentError> {
        if !self.declared.topics.contains(&topic.name) {
            let agent = Arc::clone(&self.declared.agent);
            let topic = Arc::clone(&topic.name);
            return Err(AgentError::UndeclaredTopic { agent, topic });
        }
        let to = Outlet { topic: &topic.name, key: &*topic.key, value: &*topic.value };
        self.with(|cx| {
            let record = record(cx);
            cx.send(to, &record)
        })
    }

    /// Returns access to a table that was declared with `writes` or `reads`.
    pub fn table<K: 'static, V: 'static>(&self, table: &Table<K, V>) -> TableAccess<'_, K, V> {
        TableAccess { context: self, table: table.clone(), of: PhantomData }
    }

    /// The timestamp of the current record; for a batch, of its last record.
    pub fn timestamp(&self) -> Result<Timestamp, AgentError> {
        self.with(|cx| Ok(cx.origin.timestamp))
    }

    /// The identity of the current record; for a batch, of its last record. It is the same every
    /// time the record is delivered, so it can serve as an idempotency key. If operators made
    /// several records of one, they all have the same id.
    pub fn id(&self) -> Result<RecordId, AgentError> {
        let topic = Arc::clone(&self.topic);
        let partition = self.partition;
        self.with(|cx| Ok(RecordId { topic, partition, offset: cx.origin.offset, index: 0 }))
    }

    /// The identities of the records that the agent is processing, in order: those of a batch, or
    /// one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::agents::{AgentResult, Context, Records};
    ///
    /// async fn write(mut orders: Records<String, i64>, cx: Context) -> AgentResult {
    ///     loop {
    ///         let batch = orders.take(100, Duration::from_millis(200)).await;
    ///         for (id, order) in cx.ids()?.into_iter().zip(batch) {
    ///             println!("insert ({id}, {}, {}) or ignore it", order.key, order.value);
    ///         }
    ///     }
    /// }
    /// # let app = headwater::Builder::new("writer");
    /// # app.agent("write", &headwater::Topic::new("orders")).run(write);
    /// # app.build()?;
    /// # Ok::<(), headwater::errors::BuildError>(())
    /// ```
    pub fn ids(&self) -> Result<Vec<RecordId>, AgentError> {
        let last = self.id()?;
        let state = self.link.state();
        let of = |offset: &i64| RecordId { offset: *offset, ..last.clone() };
        let batch: Vec<_> = state.batch().iter().map(of).collect();
        Ok(if batch.is_empty() { vec![last] } else { batch })
    }

    /// The headers of the current record; for a batch, of its last record.
    pub fn headers(&self) -> Result<Headers, AgentError> {
        self.with(|cx| Ok(cx.headers.clone()))
    }

    /// Reads from a table. The agent's writes for the current record advance the table's stream
    /// time only when the record is acknowledged, but reads already use the record's time.
    pub(super) fn read<T>(
        &self,
        table: TableIndex,
        act: impl FnOnce(&mut dyn RowBytes) -> Result<T, Failure>,
    ) -> Result<T, AgentError> {
        let is_written = self.declared.writes(table);
        self.with_read(|cx, read| {
            let time = if is_written { cx.origin.timestamp } else { Timestamp::MIN };
            cx.tables.ahead(table, time, |tables| match read.filter(|_| is_written) {
                Some(read) => act(&mut Noted { tables, read }),
                None => act(tables),
            })
        })
    }

    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&mut TaskContext) -> Result<T, Failure>,
    ) -> Result<T, AgentError> {
        self.with_read(|cx, _| act(cx))
    }

    /// Reads from a table and notes the read where that is needed.
    fn with_read<T>(
        &self,
        act: impl FnOnce(&mut TaskContext, Option<&mut RowsRead>) -> Result<T, Failure>,
    ) -> Result<T, AgentError> {
        let agent = || Arc::clone(&self.declared.agent);
        // Another thread would find the context while this one polls the agent.
        if !self.link.is_polled_here() {
            return Err(AgentError::Outside { agent: agent() });
        }
        let mut state = self.link.state();
        let is_kept = state.is_kept();
        let LinkState { cx, read, .. } = &mut *state;
        let Some(cx) = cx.as_mut() else {
            return Err(AgentError::Outside { agent: agent() });
        };
        act(cx, is_kept.then_some(read))
            .map_err(|failure| AgentError::Failed { agent: agent(), cause: cx.told(failure) })
    }

    fn index(&self, table: &Arc<str>, access: TableUse) -> Result<TableIndex, AgentError> {
        let declared = self.declared.tables.iter().find(|(name, _, declared)| {
            name == table && (*declared == TableUse::Write || access == TableUse::Read)
        });
        let (verb, declare) = match access {
            TableUse::Read => ("reads", "reads"),
            TableUse::Write => ("writes", "writes"),
        };
        let agent = Arc::clone(&self.declared.agent);
        let table = Arc::clone(table);
        let undeclared = AgentError::UndeclaredTable { agent, table, verb, declare };
        declared.map(|(_, index, _)| *index).ok_or(undeclared)
    }
}

/// An agent's access to a table: this partition's part, with the agent's own uncommitted writes.
pub struct TableAccess<'a, K, V> {
    pub(super) context: &'a Context,
    pub(super) table: Table<K, V>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: 'static, V: 'static> TableAccess<'_, K, V> {
    /// Returns the value of `key`.
    ///
    /// # Errors
    /// The table was not declared, or has [windows](Self::windows); the key cannot be encoded; the
    /// store fails, or its row cannot be read.
    pub fn get(&self, key: &K) -> Result<Option<V>, AgentError> {
        let index = self.rows_index()?;
        self.context.read(index, |tables| row(&self.table, index, key, tables))
    }

    pub(super) fn read_index(&self) -> Result<TableIndex, AgentError> {
        self.context.index(&self.table.name, TableUse::Read)
    }

    /// The table's number, if it has rows. Windows have other methods.
    pub(super) fn rows_index(&self) -> Result<TableIndex, AgentError> {
        let index = self.read_index()?;
        match self.context.declared.kept_windows(index) {
            None => Ok(index),
            Some(_) => Err(self.wrong("has windows: read them with windows(&key, from..to)")),
        }
    }

    #[cold]
    pub(super) fn wrong(&self, why: &str) -> AgentError {
        let cause = format!("the table {} {why}", self.table.name);
        AgentError::Failed { agent: Arc::clone(&self.context.declared.agent), cause }
    }

    pub(super) fn again(&self) -> Self {
        Self { context: self.context, table: self.table.clone(), of: PhantomData }
    }

    /// Sets the value of `key`; a value that encodes to null deletes it.
    pub fn put(&self, key: &K, value: &V) -> Result<(), AgentError> {
        let index = self.context.index(&self.table.name, TableUse::Write)?;
        self.set(index, key, Some(value))
    }

    /// Deletes `key`.
    pub fn delete(&self, key: &K) -> Result<(), AgentError> {
        let index = self.context.index(&self.table.name, TableUse::Write)?;
        self.set(index, key, None)
    }

    fn set(&self, index: TableIndex, key: &K, value: Option<&V>) -> Result<(), AgentError> {
        self.context.with(|cx| {
            let timestamp = cx.origin.timestamp.max(0);
            set_row(&self.table, index, key, value, timestamp, cx)
        })
    }

    /// Changes the value of `key`, starting from the default if there is none, and returns the new
    /// value.
    pub fn update(&self, key: &K, change: impl FnOnce(&mut V)) -> Result<V, AgentError>
    where
        V: Default,
    {
        let mut value = self.get(key)?.unwrap_or_default();
        change(&mut value);
        self.put(key, &value)?;
        Ok(value)
    }
}

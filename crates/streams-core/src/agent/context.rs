//! What an agent can do beside computing: tables and sends.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use super::records::lock;
use crate::cx::{Cx, Outlet};
use crate::error::Failure;
use crate::operators::Expiring;
use crate::operators::table_access::{get_row, set_row};
use crate::record::{Headers, Record, Timestamp};
use crate::table::Table;
use crate::tables::TableIndex;
use crate::topic::Topic;

/// Holds the task's context while the agent is polled, and nothing otherwise.
pub(crate) type Loan = Arc<Mutex<Option<Box<Cx>>>>;

/// An agent's view of its task. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub(crate) loan: Loan,
    pub(crate) declared: Arc<Declared>,
}

/// What the agent's builder declared, so that the topology could be checked.
pub(crate) struct Declared {
    pub(crate) agent: Arc<str>,
    pub(crate) tables: Vec<(Arc<str>, TableIndex, Access)>,
    pub(crate) topics: Vec<Arc<str>>,
}

/// What an agent may do with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

crate::debug_is_display!(AgentError);

/// An agent did something that it cannot do.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It used a table without declaring it.
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
    /// It sent to a topic without declaring it.
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
    /// Sends a record to `topic`, with the timestamp and the headers of the record in hand.
    pub fn send<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        key: K,
        value: V,
    ) -> Result<(), AgentError> {
        let timestamp = self.timestamp()?;
        self.send_at(topic, Record { key, value, timestamp })
    }

    /// Sends a record with a timestamp of its own.
    pub fn send_at<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        record: Record<K, V>,
    ) -> Result<(), AgentError> {
        if !self.declared.topics.contains(&topic.name) {
            let (agent, topic) = (Arc::clone(&self.declared.agent), Arc::clone(&topic.name));
            return Err(AgentError::UndeclaredTopic { agent, topic });
        }
        let to = Outlet { topic: &topic.name, key: &*topic.key, value: &*topic.value };
        self.with(|cx| cx.send(to, &record))
    }

    /// Access to a table that was declared with `writes` or `reads`.
    pub fn table<K: 'static, V: 'static>(&self, table: &Table<K, V>) -> TableAccess<'_, K, V> {
        TableAccess { context: self, table: table.clone(), of: PhantomData }
    }

    /// The timestamp of the record in hand (of a batch: of its last record).
    pub fn timestamp(&self) -> Result<Timestamp, AgentError> {
        self.with(|cx| Ok(cx.origin.timestamp))
    }

    /// The headers of the record in hand (of a batch: of its last record).
    pub fn headers(&self) -> Result<Headers, AgentError> {
        self.with(|cx| Ok(cx.headers.clone()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Cx) -> Result<T, Failure>) -> Result<T, AgentError> {
        let mut loan = lock(&self.loan);
        let agent = || Arc::clone(&self.declared.agent);
        let Some(cx) = loan.as_mut() else {
            return Err(AgentError::Outside { agent: agent() });
        };
        act(cx).map_err(|failure| AgentError::Failed { agent: agent(), cause: cx.told(failure) })
    }

    fn index(&self, table: &Arc<str>, access: Access) -> Result<TableIndex, AgentError> {
        let declared = self.declared.tables.iter().find(|(name, _, declared)| {
            name == table && (*declared == Access::Write || access == Access::Read)
        });
        let (verb, declare) = match access {
            Access::Read => ("reads", "reads"),
            Access::Write => ("writes", "writes"),
        };
        let (agent, table) = (Arc::clone(&self.declared.agent), Arc::clone(table));
        let undeclared = AgentError::UndeclaredTable { agent, table, verb, declare };
        declared.map(|(_, index, _)| *index).ok_or(undeclared)
    }
}

/// A table as an agent reads and writes it: this partition's part, with the agent's own uncommitted
/// writes.
pub struct TableAccess<'a, K, V> {
    context: &'a Context,
    table: Table<K, V>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: 'static, V: 'static> TableAccess<'_, K, V> {
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Result<Option<V>, AgentError> {
        let index = self.context.index(&self.table.name, Access::Read)?;
        let is_written = self.context.index(&self.table.name, Access::Write).is_ok();
        self.context.with(|cx| {
            if !is_written {
                return get_row(&self.table, index, key, cx);
            }
            let expiring = Expiring { index, tell: None };
            expiring.arrive(cx.origin.timestamp, cx);
            let row = get_row(&self.table, index, key, cx)?;
            expiring.expire(cx)?;
            Ok(row)
        })
    }

    /// Sets the value of `key`; a value that encodes to null deletes it.
    pub fn put(&self, key: &K, value: &V) -> Result<(), AgentError> {
        let index = self.context.index(&self.table.name, Access::Write)?;
        self.set(index, key, Some(value))
    }

    /// Deletes `key`.
    pub fn delete(&self, key: &K) -> Result<(), AgentError> {
        let index = self.context.index(&self.table.name, Access::Write)?;
        self.set(index, key, None)
    }

    fn set(&self, index: TableIndex, key: &K, value: Option<&V>) -> Result<(), AgentError> {
        self.context.with(|cx| {
            let timestamp = cx.origin.timestamp.max(0);
            Expiring { index, tell: None }
                .around(timestamp, cx, |cx| set_row(&self.table, index, key, value, timestamp, cx))
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

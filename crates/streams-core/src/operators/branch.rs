//! Branch: records go one of two ways.

use crate::error::Failure;
use crate::receive::{Port, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Forwards a record to one of two streams.
pub(crate) struct Branch<K, V, F> {
    pub(crate) predicate: F,
    pub(crate) matching: Port<K, V>,
    pub(crate) rest: Port<K, V>,
}

impl<K: 'static, V: 'static, F> Receive<K, V> for Branch<K, V, F>
where
    F: Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let matches = (self.predicate)(&record.key, &record.value)?;
        if matches { self.matching.receive(record, cx) } else { self.rest.receive(record, cx) }
    }
}

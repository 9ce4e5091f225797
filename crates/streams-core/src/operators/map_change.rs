//! Filters and maps of tables: both sides of a change pass through the same function.

use std::sync::Arc;

use crate::change::Change;
use crate::error::Failure;
use crate::receive::{Receive, SharedReceiver};
use crate::record::Record;
use crate::task_context::TaskContext;

pub(crate) struct MapChange<K, V2, F> {
    pub(crate) map: Arc<F>,
    /// Whether a change from absent to absent is forwarded.
    pub(crate) tells_absent: bool,
    pub(crate) changes: SharedReceiver<K, Change<V2>>,
}

impl<K, V, V2, F> Receive<K, Change<V>> for MapChange<K, V2, F>
where
    K: Clone + 'static,
    V: 'static,
    V2: Clone + 'static,
    F: Fn(&K, V) -> Option<V2> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, Change<V>>, cx: &mut TaskContext) -> Result<(), Failure> {
        let Record { key, value, timestamp } = record;
        let value = value.and_then(|value| (self.map)(&key, value));
        if value.old.is_none() && value.new.is_none() && !self.tells_absent {
            return Ok(());
        }
        self.changes.receive(Record { key, value, timestamp }, cx)
    }
}

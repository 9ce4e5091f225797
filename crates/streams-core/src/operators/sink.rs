//! Sinks: typed records become bytes on their way to a topic.

use std::sync::Arc;

use crate::codec::Codec;
use crate::error::{Cause, Failure};
use crate::receive::Receive;
use crate::record::Record;
use crate::task_context::{Outlet, TaskContext};
use crate::topic::Topic;

/// Sends every record to one topic.
pub(crate) struct Sink<K, V> {
    pub(crate) topic: Topic<K, V>,
    /// Set if the topic's records are grouped by their key, so that a record without a key would
    /// have no group.
    pub(crate) needs_key: bool,
}

impl<K: 'static, V: 'static> Receive<K, V> for Sink<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let Topic { name, key, value } = &self.topic;
        cx.send(Outlet { topic: name, key: &**key, value: &**value }, &record)?;
        if self.needs_key && cx.effects.last_key_is_null() {
            return Err(Cause::NullKey { target: Arc::clone(name) }.into());
        }
        Ok(())
    }
}

/// Sends each record to a topic that is chosen by the record.
pub(crate) struct SinkBy<K, V, F> {
    pub(crate) choose: F,
    pub(crate) key: Arc<dyn Codec<K>>,
    pub(crate) value: Arc<dyn Codec<V>>,
}

impl<K: 'static, V: 'static, F> Receive<K, V> for SinkBy<K, V, F>
where
    F: Fn(&K, &V) -> Arc<str> + Send + Sync + 'static,
{
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let topic = (self.choose)(&record.key, &record.value);
        cx.send(Outlet { topic: &topic, key: &*self.key, value: &*self.value }, &record)
    }
}

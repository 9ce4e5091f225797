//! Peek: looks at records as they pass.

use crate::error::Failure;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Calls a function with each record and forwards the record.
pub(crate) struct Peek<F>(pub(crate) F);

impl<K: 'static, V: 'static, F> Operator<K, V> for Peek<F>
where
    F: Fn(&K, &V) + Send + Sync + 'static,
{
    type Key = K;
    type Value = V;

    #[inline]
    fn apply(
        &self,
        record: Record<K, V>,
        next: &impl Receive<K, V>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        self.0(&record.key, &record.value);
        next.receive(record, cx)
    }
}

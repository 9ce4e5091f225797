//! Filter: forwards the records that pass.

use crate::error::Failure;
use crate::receive::{Operator, Receive};
use crate::record::Record;
use crate::task_context::TaskContext;

/// Forwards the records for which the predicate is true.
pub(crate) struct Filter<F>(pub(crate) F);

impl<K: 'static, V: 'static, F> Operator<K, V> for Filter<F>
where
    F: Fn(&K, &V) -> Result<bool, Failure> + Send + Sync + 'static,
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
        if self.0(&record.key, &record.value)? { next.receive(record, cx) } else { Ok(()) }
    }
}

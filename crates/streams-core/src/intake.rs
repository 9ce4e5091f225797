//! The operators between a topic and a reader that consumes it independently: calls, or an agent on
//! a stream. They run for that reader alone, when it receives a record.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::panic_text;
use crate::error::{Cause, Failure};
use crate::operators::ReceiveRaw;
use crate::receive::Receive;
use crate::record::{RawRecord, Record, Timestamp};
use crate::task_context::TaskContext;

/// The end of such a chain.
pub(crate) struct Collect<K, V>(PhantomData<fn(K, V)>);

impl<K, V> Collect<K, V> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<K: Send + 'static, V: Send + 'static> Receive<K, V> for Collect<K, V> {
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        cx.collected.push(Box::new(record));
        Ok(())
    }
}

/// Such a chain, starting at the topic's bytes.
pub(crate) struct RawChain<K, V> {
    pub(crate) chain: Box<dyn ReceiveRaw>,
    pub(crate) of: PhantomData<fn() -> (K, V)>,
}

impl<K: Send + 'static, V: Send + 'static> RawChain<K, V> {
    /// Runs the operators on a record and returns what they make of it.
    pub(crate) fn take_in(
        &self,
        raw: &RawRecord<'_>,
        cx: &mut TaskContext,
    ) -> Result<Vec<Record<K, V>>, Failure> {
        cx.collected.clear();
        let ran = catch_unwind(AssertUnwindSafe(|| self.chain.receive(raw, cx)));
        ran.unwrap_or_else(|panic| Err(Cause::Panic(panic_text(&*panic)).into()))?;
        let records = cx.collected.drain(..).filter_map(|record: Box<dyn Any + Send>| {
            record.downcast().ok().map(|record: Box<Record<K, V>>| *record)
        });
        Ok(records.collect())
    }

    pub(crate) fn event_time(&self, record: &RawRecord<'_>) -> Option<Timestamp> {
        self.chain.event_time(record)
    }

    pub(crate) fn extracts_times(&self) -> bool {
        self.chain.extracts_times()
    }
}

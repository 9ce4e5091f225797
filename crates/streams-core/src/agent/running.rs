//! An agent of one task: its future, and what it was given.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Waker};

use super::builder::AgentResult;
use super::context::Loan;
use super::records::{SharedInbox, Waiting, lock};
use crate::cx::Cx;
use crate::error::Cause;
use crate::operators::{check_timestamp, decode};
use crate::policy::Extractor;
use crate::record::{RawRecord, Record, Timestamp};
use crate::topic::Topic;

/// What a poll of an agent led to.
#[derive(Debug)]
pub(crate) enum Poll {
    /// It has dealt with everything it was given and asks for more.
    Idle,
    /// It has dealt with everything it was given; what came since waits to become a batch.
    Collecting,
    /// It waits for something of its own, in the middle of a record.
    Busy,
    /// It returned or panicked.
    Ended(Cause),
}

/// The task's handle to an agent's future.
pub(crate) trait Running: Send {
    /// Gives the agent a record. It is only polled afterwards.
    fn deliver(&mut self, raw: &RawRecord<'_>, cx: &Cx) -> Result<(), Cause>;

    /// Whether a poll would find something to do for an agent that waits for records.
    fn is_due(&mut self, now: Timestamp) -> bool;

    /// When a batch in the making has waited long enough.
    fn deadline(&self) -> Option<Timestamp>;

    /// Runs the agent until it waits; the context is lent to it meanwhile.
    fn poll(&mut self, cx: Box<Cx>, waker: &Waker) -> (Box<Cx>, Poll);
}

pub(super) struct RunningAgent<K, V> {
    pub(super) name: Arc<str>,
    pub(super) topic: Topic<K, V>,
    pub(super) timestamps: Option<Extractor<K, V>>,
    pub(super) inbox: SharedInbox<K, V>,
    pub(super) loan: Loan,
    pub(super) future: Pin<Box<dyn Future<Output = AgentResult> + Send>>,
}

impl<K: Send + 'static, V: Send + 'static> Running for RunningAgent<K, V> {
    fn deliver(&mut self, raw: &RawRecord<'_>, cx: &Cx) -> Result<(), Cause> {
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decoded(raw, cx)));
        let record = decoded.unwrap_or_else(|panic| Err(Cause::Panic(panic_text(&*panic))))?;
        let mut inbox = lock(&self.inbox);
        if inbox.records.is_empty() {
            inbox.oldest = cx.elapsed;
        }
        inbox.records.push_back(record);
        Ok(())
    }

    fn is_due(&mut self, now: Timestamp) -> bool {
        let mut inbox = lock(&self.inbox);
        inbox.now = now;
        inbox.is_due()
    }

    fn deadline(&self) -> Option<Timestamp> {
        lock(&self.inbox).deadline()
    }

    fn poll(&mut self, cx: Box<Cx>, waker: &Waker) -> (Box<Cx>, Poll) {
        lock(&self.inbox).now = cx.elapsed;
        *lock(&self.loan) = Some(cx);
        let mut async_cx = task::Context::from_waker(waker);
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(&mut async_cx)));
        #[expect(clippy::expect_used, reason = "the agent only ever borrows what was lent")]
        let cx = lock(&self.loan).take().expect("a lent context comes back");
        let outcome = match polled {
            Ok(task::Poll::Pending) => self.state(),
            Ok(task::Poll::Ready(Ok(()))) => Poll::Ended(
                self.failed("it returned, but an agent runs as long as its task".into()),
            ),
            Ok(task::Poll::Ready(Err(error))) => Poll::Ended(self.failed(error)),
            Err(panic) => Poll::Ended(Cause::Panic(panic_text(&*panic))),
        };
        (cx, outcome)
    }
}

impl<K: 'static, V: 'static> RunningAgent<K, V> {
    fn decoded(&self, raw: &RawRecord<'_>, cx: &Cx) -> Result<Record<K, V>, Cause> {
        let mut record = decode(&self.topic, raw)?;
        if let Some(extract) = &self.timestamps {
            record.timestamp = extract(&record);
        }
        check_timestamp(record.timestamp, cx)?;
        Ok(record)
    }

    fn state(&self) -> Poll {
        let inbox = lock(&self.inbox);
        match inbox.waiting {
            None => Poll::Busy,
            Some(Waiting::Batch { .. }) if !inbox.records.is_empty() => Poll::Collecting,
            Some(_) => Poll::Idle,
        }
    }

    fn failed(&self, source: crate::error::BoxError) -> Cause {
        Cause::User { operator: format!("agent {}", self.name).into(), source }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

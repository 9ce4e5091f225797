//! The records of an agent, one at a time or in batches.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use super::link::{Awaited, Link, Queued, lock};
use crate::record::{Headers, Record, Timestamp};
use crate::task_context::Origin;
use crate::window::millis;

/// A record on its way to an agent.
pub(crate) struct Delivered<K, V> {
    pub(crate) record: Record<K, V>,
    pub(crate) origin: Origin,
    pub(crate) headers: Headers,
    /// When it was delivered, on the monotonic clock.
    pub(crate) came_at: Timestamp,
}

/// Records that the task has delivered and the agent has not yet received.
pub(crate) type Inbox<K, V> = Arc<Mutex<VecDeque<Delivered<K, V>>>>;

/// The records of a partition, in order.
///
/// An agent acknowledges a record by waiting for the next one. All records received before are
/// acknowledged when [`next`](Self::next) or [`take`](Self::take) returns something, and while it
/// waits for a record. What the agent sent and wrote since then is committed with them. A wait that
/// is abandoned, as in `select!` or a timeout, loses no record: the next wait returns it.
pub struct Records<K, V> {
    pub(crate) inbox: Inbox<K, V>,
    pub(crate) link: Arc<Link>,
}

impl<K, V> Records<K, V> {
    /// Waits for the next record, and acknowledges all records before it.
    ///
    /// There is always a next record to wait for while the task runs. When the task moves away or
    /// is rewound, the agent's future is dropped, at this or any other await, and a new one starts
    /// elsewhere. `None` is returned only outside of the agent's own future, for example in a task
    /// that it spawned. Records cannot be acknowledged there, so the application stops with an
    /// error that says so.
    pub async fn next(&mut self) -> Option<Record<K, V>> {
        let mut wait = Wait::new(&self.link);
        let mut next = None;
        poll_fn(|context| wait.poll(&self.inbox, Awaited::One, context, |one| next = Some(one)))
            .await;
        next
    }

    /// Waits for up to `count` records: until that many have arrived, or until `within` has passed
    /// since the first of them arrived, measured by a monotonic clock. The result is never empty.
    /// Asking for the next batch acknowledges this one. A batch that was not finished when the task
    /// moved away is delivered again, perhaps cut differently. If a batch fails, its records are
    /// delivered again one by one, to find the record that fails.
    ///
    /// Outside of the agent's own future it never returns; see [`next`](Self::next).
    pub async fn take(&mut self, count: usize, within: Duration) -> Vec<Record<K, V>> {
        let what = Awaited::Batch { count: count.max(1), within_ms: millis(within) };
        let mut wait = Wait::new(&self.link);
        let mut batch = Vec::new();
        poll_fn(|context| wait.poll(&self.inbox, what, context, |one| batch.push(one))).await;
        batch
    }
}

/// A wait for records, until it is abandoned or complete.
struct Wait<'r> {
    link: &'r Link,
    /// It has returned something.
    is_over: bool,
}

impl<'r> Wait<'r> {
    fn new(link: &'r Link) -> Self {
        Self { link, is_over: false }
    }
}

impl Wait<'_> {
    fn poll<K, V>(
        &mut self,
        inbox: &Inbox<K, V>,
        what: Awaited,
        context: &task::Context<'_>,
        mut give: impl FnMut(Record<K, V>),
    ) -> Poll<()> {
        if !self.link.is_polled_here() {
            self.link.asked_from_outside();
            return if what == Awaited::One { Poll::Ready(()) } else { Poll::Pending };
        }
        let mut state = self.link.state();
        let mut inbox = lock(inbox);
        state.waiting = Some(what);
        if !state.is_satisfied_by(queued(&inbox)) {
            state.note_waiter(context.waker());
            return Poll::Pending;
        }
        if state.allowance == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        state.waiting = None;
        self.is_over = true;
        state.acknowledge();
        let count = match what {
            Awaited::Batch { count, .. } if state.alone == 0 => count.min(inbox.len()),
            _ => 1,
        };
        state.forget_batch();
        for number in 1..=count {
            let Some(delivered) = inbox.pop_front() else { break };
            let Delivered { record, mut origin, headers, .. } = delivered;
            if count > 1 {
                state.note_in_batch(origin.offset);
            }
            if number == count {
                origin.timestamp = record.timestamp;
                state.give(count, origin, headers);
            }
            give(record);
        }
        Poll::Ready(())
    }
}

/// What is waiting in an inbox.
pub(crate) fn queued<K, V>(inbox: &VecDeque<Delivered<K, V>>) -> Queued {
    inbox
        .front()
        .map_or_else(Queued::default, |first| Queued { records: inbox.len(), since: first.came_at })
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.state().waiting = None;
        }
    }
}

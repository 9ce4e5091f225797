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
    /// When it was delivered, by the clock that never goes back.
    pub(crate) came_at: Timestamp,
}

/// Delivered by the task, not yet given to the agent.
pub(crate) type Inbox<K, V> = Arc<Mutex<VecDeque<Delivered<K, V>>>>;

/// The records of a partition, in order.
///
/// A record is acknowledged by waiting for the next one: while a [`next`](Self::next) or
/// [`take`](Self::take) is alive and has nothing to give, and when it gives something, all records
/// given before are done, and what the agent sent and wrote since then is committed with them. A
/// wait that is abandoned, as `select!` and time-outs do, takes no record along: what it would have
/// given is given by the next one.
pub struct Records<K, V> {
    pub(crate) inbox: Inbox<K, V>,
    pub(crate) link: Arc<Link>,
}

impl<K, V> Records<K, V> {
    /// The next record; asking for it acknowledges all before it.
    ///
    /// While the task runs there is always a next one to wait for. When the task moves away or is
    /// rewound, the agent's future is dropped at this point (or wherever else it waits), and a
    /// new one is started elsewhere. `None` only outside of the agent's own future, in a task that
    /// it spawned for example, where nobody could tell which records are done: then the
    /// application ends with an error that says so.
    pub async fn next(&mut self) -> Option<Record<K, V>> {
        let mut wait = Wait::new(&self.link);
        let mut next = None;
        poll_fn(|context| wait.poll(&self.inbox, Awaited::One, context, |one| next = Some(one)))
            .await;
        next
    }

    /// Up to `count` records: as soon as there are as many, or when `within` has passed since the
    /// first of them came, whatever the date was set to meanwhile. Never empty. Asking for the next
    /// batch acknowledges this one; a batch that was not finished when the task moved away comes
    /// again, perhaps cut differently. Where a batch fails its records are given again one by one,
    /// so that the one that fails is found.
    ///
    /// Outside of the agent's own future it never returns: see [`next`](Self::next).
    pub async fn take(&mut self, count: usize, within: Duration) -> Vec<Record<K, V>> {
        let what = Awaited::Batch { count: count.max(1), within_ms: millis(within) };
        let mut wait = Wait::new(&self.link);
        let mut batch = Vec::new();
        poll_fn(|context| wait.poll(&self.inbox, what, context, |one| batch.push(one))).await;
        batch
    }
}

/// A wait for records, until it is abandoned or over.
struct Wait<'r> {
    link: &'r Link,
    /// It has given something.
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

/// What an inbox has.
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

//! The records of an agent, one at a time or in batches.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::record::{Record, Timestamp};
use crate::window::millis;

/// What a task and its agent share about records.
pub(crate) struct Inbox<K, V> {
    /// Delivered by the task, not yet handed to the agent.
    pub(crate) records: VecDeque<Record<K, V>>,
    /// Set while the agent waits for records: it has dealt with everything it was given.
    pub(crate) waiting: Option<Waiting>,
    /// The clock that never goes back, at this poll.
    pub(crate) now: Timestamp,
    /// When the oldest record in `records` came, by that clock.
    pub(crate) oldest: Timestamp,
}

/// What an agent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    One,
    Batch { count: usize, within_ms: i64 },
}

impl<K, V> Inbox<K, V> {
    pub(crate) fn new() -> Self {
        Self { records: VecDeque::new(), waiting: None, now: 0, oldest: 0 }
    }

    /// Whether what the agent waits for is there.
    pub(crate) fn is_due(&self) -> bool {
        match self.waiting {
            None => true,
            Some(Waiting::One) => !self.records.is_empty(),
            Some(Waiting::Batch { count, .. }) => {
                self.records.len() >= count || self.deadline().is_some_and(|at| at <= self.now)
            }
        }
    }

    /// When a batch is handed over although it is not full.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self.waiting {
            Some(Waiting::Batch { within_ms, .. }) if !self.records.is_empty() => {
                Some(self.oldest.saturating_add(within_ms))
            }
            _ => None,
        }
    }
}

pub(crate) type SharedInbox<K, V> = Arc<Mutex<Inbox<K, V>>>;

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records of a partition, in order.
pub struct Records<K, V> {
    pub(crate) inbox: SharedInbox<K, V>,
}

impl<K, V> Records<K, V> {
    /// The next record; asking for it acknowledges all before it.
    ///
    /// While the task runs there is always a next one to wait for. When the task moves away or is
    /// rewound, the agent's future is dropped at this point (or wherever else it waits), and a
    /// new one is started elsewhere.
    pub async fn next(&mut self) -> Option<Record<K, V>> {
        let mut batch = self.wait(Waiting::One).await;
        batch.pop()
    }

    /// Up to `count` records: as soon as there are as many, or when `within` has passed since the
    /// first of them came, whatever the date was set to meanwhile. Never empty. Asking for the next
    /// batch acknowledges this one; a batch that was not finished when the task moved away comes
    /// again, perhaps cut differently.
    pub async fn take(&mut self, count: usize, within: Duration) -> Vec<Record<K, V>> {
        let (count, within_ms) = (count.max(1), millis(within));
        self.wait(Waiting::Batch { count, within_ms }).await
    }

    async fn wait(&mut self, what: Waiting) -> Vec<Record<K, V>> {
        poll_fn(|_| {
            let mut inbox = lock(&self.inbox);
            inbox.waiting = Some(what);
            // The task polls again when there is something; no waker is needed.
            if !inbox.is_due() {
                return Poll::Pending;
            }
            inbox.waiting = None;
            let count = match what {
                Waiting::One => 1,
                Waiting::Batch { count, .. } => count.min(inbox.records.len()),
            };
            Poll::Ready(inbox.records.drain(..count).collect())
        })
        .await
    }
}

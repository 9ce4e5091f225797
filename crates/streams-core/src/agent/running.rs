//! The agent of one task: its future, and the records that it received.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Waker};

use super::AgentResult;
use super::link::{Link, Queued, lock};
use super::records::{Delivered, Inbox, queued};
use crate::consumed::Extractor;
use crate::error::{BoxError, Cause, Failure, panic_text};
use crate::intake::RawChain;
use crate::operators::{check_timestamp, decode};
use crate::record::{Headers, RawRecord, Record, Timestamp};
use crate::task_context::{Origin, TaskContext};
use crate::topic::Topic;

/// The result of polling an agent.
#[derive(Debug)]
pub(crate) struct Polled {
    /// How many records it acknowledged, in the order of delivery.
    pub(crate) acknowledged: usize,
    /// Records that failed but did not stop the agent, in order.
    pub(crate) refused: Vec<Refused>,
    /// How many records it has received after those.
    pub(crate) in_hand: usize,
    /// Whether it waits for records.
    pub(crate) is_waiting: bool,
    /// Something other than the agent asked for its records.
    pub(crate) asked_from_outside: bool,
    /// Why the agent ended, if it returned or panicked. Its current records failed, and a new
    /// future starts.
    pub(crate) failure: Option<Box<Cause>>,
}

impl Polled {
    /// How many records were acknowledged before any failed.
    pub(crate) fn acknowledged_first(&self) -> usize {
        self.refused.first().map_or(self.acknowledged, |first| first.after)
    }

    /// Marks that many of those as settled.
    pub(crate) fn settle_first(&mut self, records: usize) {
        self.acknowledged -= records;
        self.refused.iter_mut().for_each(|refused| refused.after -= records);
    }
}

/// A record that failed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// How many records were acknowledged in this poll before it.
    pub(crate) after: usize,
    pub(crate) cause: Cause,
}

/// The task's handle to an agent's future.
pub(crate) trait Running: Send {
    /// Queues a record for the agent, which is polled later. Returns whether the agent [is
    /// due](Self::is_due).
    fn deliver(
        &mut self,
        raw: &RawRecord<'_>,
        origin: Origin,
        headers: &Headers,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure>;

    /// Whether a poll would find something to do: the agent's record or batch is ready, or
    /// something of its own has woken it.
    fn is_due(&self, now: Timestamp) -> bool;

    /// When an incomplete batch has waited long enough.
    fn deadline(&self) -> Option<Timestamp>;

    /// Since when it has had records, on the monotonic clock.
    fn busy_since(&self) -> Option<Timestamp>;

    /// How many records it has received and not acknowledged.
    fn in_hand(&self) -> usize;

    /// Runs the agent until it waits. The context is lent to it meanwhile.
    fn poll(&mut self, cx: Box<TaskContext>) -> (Box<TaskContext>, Polled);

    /// Sets the waker to call when something wakes the agent.
    fn set_task(&mut self, waker: &Waker);

    /// Makes that many records be delivered one by one.
    fn give_alone(&mut self, records: usize);

    /// Converts an index among the records that the agent received to one among the topic's records
    /// that it has.
    fn of_topic(&self, index: usize) -> usize;
}

/// Where an agent's records come from.
pub(crate) enum RecordSource<K, V> {
    Topic { topic: Topic<K, V>, timestamps: Option<Extractor<K, V>> },
    Stream(Arc<RawChain<K, V>>),
}

impl<K, V> Clone for RecordSource<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Topic { topic, timestamps } => {
                Self::Topic { topic: topic.clone(), timestamps: timestamps.clone() }
            }
            Self::Stream(intake) => Self::Stream(Arc::clone(intake)),
        }
    }
}

pub(super) struct RunningAgent<K, V> {
    pub(super) name: Arc<str>,
    pub(super) source: RecordSource<K, V>,
    /// For an agent on a stream: how many records the operators made of each unacknowledged record
    /// of the topic.
    pub(super) made_of_one: VecDeque<usize>,
    /// How many of the first one's records are acknowledged.
    pub(super) of_first: usize,
    pub(super) inbox: Inbox<K, V>,
    pub(super) link: Arc<Link>,
    pub(super) waker: Waker,
    pub(super) future: Pin<Box<dyn Future<Output = AgentResult> + Send>>,
}

impl<K: Send + 'static, V: Send + 'static> Running for RunningAgent<K, V> {
    fn deliver(
        &mut self,
        raw: &RawRecord<'_>,
        origin: Origin,
        headers: &Headers,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let now = cx.elapsed;
        let delivered = |record| {
            let headers = if headers.is_empty() { Headers::new() } else { headers.clone() };
            Delivered { record, origin, headers, came_at: now }
        };
        match &self.source {
            RecordSource::Topic { topic, timestamps } => {
                let decoded =
                    catch_unwind(AssertUnwindSafe(|| decoded(topic, timestamps.as_ref(), raw, cx)));
                let decoded =
                    decoded.unwrap_or_else(|panic| Err(Cause::Panic(panic_text(&*panic))));
                let mut inbox = lock(&self.inbox);
                inbox.push_back(delivered(decoded?));
                Ok(self.is_due_with(queued(&inbox), now))
            }
            RecordSource::Stream(intake) => {
                let records = intake.take_in(raw, cx)?;
                self.made_of_one.push_back(records.len());
                if records.is_empty() {
                    // The record is settled in its turn, so the task must be polled.
                    self.waker.wake_by_ref();
                }
                lock(&self.inbox).extend(records.into_iter().map(delivered));
                Ok(self.is_due(now))
            }
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let queued = queued(&lock(&self.inbox));
        self.is_due_with(queued, now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.link.state().deadline(queued(&lock(&self.inbox)))
    }

    fn busy_since(&self) -> Option<Timestamp> {
        let state = self.link.state();
        (state.in_hand > 0).then_some(state.given_at)
    }

    fn in_hand(&self) -> usize {
        self.of_topic_in_hand(self.link.state().in_hand)
    }

    fn poll(&mut self, cx: Box<TaskContext>) -> (Box<TaskContext>, Polled) {
        self.link.begin_poll(cx);
        let mut context = task::Context::from_waker(&self.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(&mut context)));
        let (cx, mut outcome) = self.link.end_poll();
        let ended = match polled {
            Ok(task::Poll::Pending) => None,
            Ok(task::Poll::Ready(Ok(()))) => {
                let why = "it returned, but an agent runs as long as its task";
                Some(self.failed(why.into()))
            }
            Ok(task::Poll::Ready(Err(error))) => Some(self.failed(error)),
            Err(panic) => Some(Cause::Panic(panic_text(&*panic))),
        };
        outcome.failure = ended.map(Box::new);
        // With several futures, acknowledged records are counted per future.
        if matches!(self.source, RecordSource::Stream(_)) && !self.link.state().is_kept() {
            outcome.acknowledged = self.of_topic_acknowledged(outcome.acknowledged);
            outcome.in_hand = self.of_topic_in_hand(outcome.in_hand);
        }
        (cx, outcome)
    }

    fn set_task(&mut self, waker: &Waker) {
        self.link.wakeup.set_task(waker);
    }

    fn give_alone(&mut self, records: usize) {
        let made = match &self.source {
            RecordSource::Topic { .. } => records,
            RecordSource::Stream(_) => self.made_of_one.iter().take(records).sum(),
        };
        self.link.state().alone = made;
    }

    fn of_topic(&self, index: usize) -> usize {
        self.of_topic_in_hand(index + 1).saturating_sub(1)
    }
}

impl<K: 'static, V: 'static> RunningAgent<K, V> {
    fn is_due_with(&self, queued: Queued, now: Timestamp) -> bool {
        if self.link.wakeup.is_woken() {
            return true;
        }
        let mut state = self.link.state();
        state.now = now;
        state.is_satisfied_by(queued)
    }

    /// Given that many more acknowledged records of the agent, returns how many records of the
    /// topic are done.
    pub(super) fn of_topic_acknowledged(&mut self, acknowledged: usize) -> usize {
        self.of_first += acknowledged;
        let mut done = 0;
        while self.made_of_one.front().is_some_and(|made| *made <= self.of_first) {
            self.of_first -= self.made_of_one.pop_front().unwrap_or(0);
            done += 1;
        }
        done
    }

    /// How many records of the topic the agent's current records are.
    fn of_topic_in_hand(&self, in_hand: usize) -> usize {
        if matches!(self.source, RecordSource::Topic { .. }) || in_hand == 0 {
            return in_hand;
        }
        let mut left = self.of_first + in_hand;
        let covers = |made: &&usize| {
            let is_in_hand = left > 0;
            left -= (**made).min(left);
            is_in_hand
        };
        self.made_of_one.iter().take_while(covers).count()
    }

    fn failed(&self, source: BoxError) -> Cause {
        Cause::User { operator: format!("agent {}", self.name).into(), source }
    }
}

fn decoded<K: 'static, V: 'static>(
    topic: &Topic<K, V>,
    timestamps: Option<&Extractor<K, V>>,
    raw: &RawRecord<'_>,
    cx: &TaskContext,
) -> Result<Record<K, V>, Cause> {
    let mut record = decode(topic, raw)?;
    if let Some(extract) = timestamps {
        record.timestamp = extract(&record);
    }
    check_timestamp(record.timestamp, cx)?;
    Ok(record)
}

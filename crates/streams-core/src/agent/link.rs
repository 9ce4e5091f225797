//! What a task and one of its agents share.

use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use super::StartedFor;
use super::rows_read::RowsRead;
use super::running::Polled;
use crate::effect::{Effects, Mark};
use crate::record::{Headers, Timestamp};
use crate::state::layer::Layer;
use crate::state::unreleased::{RecordWrites, Unreleased};
use crate::task_context::{Origin, TaskContext};

/// How many records an agent may receive in one poll. The limit gives other tasks their turn.
pub(crate) const RECORDS_PER_POLL: usize = 32;

thread_local! {
    /// The address of the link whose agent this thread polls, 0 for none.
    static POLLED: Cell<usize> = const { Cell::new(0) };
}

/// What an agent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    One,
    Batch { count: usize, within_ms: i64 },
}

/// What happens to the sends and writes for records that an agent acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// They become the task's.
    Done,
    /// They are set aside, and the owner of several futures puts them in order.
    FinishedWork,
}

/// What one of several futures of an agent has finished.
#[derive(Default)]
pub(crate) struct FinishedWork {
    /// How many of the records that it received.
    pub(crate) records: usize,
    pub(crate) sent: Effects,
    pub(crate) written: RecordWrites,
    /// What it has read meanwhile of the tables that the agent writes.
    pub(crate) read: RowsRead,
}

impl FinishedWork {
    fn is_empty(&self) -> bool {
        self.records == 0 && self.sent.is_empty() && self.written.is_empty()
    }

    /// Adds what was done later for the same record.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.records += later.records;
        self.sent.append(&mut later.sent);
        self.written.append(later.written);
        self.read.append(later.read);
    }
}

/// The records that are ready for the agent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queued {
    pub(crate) records: usize,
    /// When the first of them arrived, on the monotonic clock.
    pub(crate) since: Timestamp,
}

/// The state that a task and an agent share.
pub(crate) struct Link {
    state: Mutex<LinkState>,
    pub(crate) wakeup: Arc<Wakeup>,
}

pub(crate) struct LinkState {
    /// The task's context, while the agent is polled.
    pub(crate) cx: Option<Box<TaskContext>>,
    /// Set while a `next()` or `take()` is waiting without a record.
    pub(crate) waiting: Option<Awaited>,
    /// Wakes that `next()` or `take()`, because something between it and the task may poll it.
    waiter: Option<Waker>,
    /// Records that the agent has received and not acknowledged.
    pub(crate) in_hand: usize,
    /// Records that it has acknowledged since the poll began.
    pub(crate) acknowledged: usize,
    /// How many more records it may receive in this poll.
    pub(crate) allowance: usize,
    /// How many of the next records are delivered one by one, because a batch with them failed.
    pub(crate) alone: usize,
    /// The last record that the agent received. During a poll the context has it instead.
    origin: Origin,
    headers: Headers,
    /// The offsets of the current batch.
    batch: Vec<i64>,
    /// When it was received, on the monotonic clock.
    pub(crate) given_at: Timestamp,
    /// The mark in the context's effects after which nothing is acknowledged.
    unacknowledged: Mark,
    /// What the agent sent and wrote for unacknowledged records. It is invisible to the rest of the
    /// task.
    sent: Effects,
    written: Layer,
    /// What it has written for acknowledged records that are set aside.
    pub(crate) unreleased: Unreleased,
    /// What it has read since it last acknowledged, if others may write that meanwhile.
    pub(crate) read: RowsRead,
    /// The monotonic clock at this poll.
    pub(crate) now: Timestamp,
    /// Something other than the agent asked for its records.
    pub(crate) asked_from_outside: bool,
    /// What was acknowledged, if the owner of several futures puts it in order.
    kept: Option<Vec<FinishedWork>>,
}

impl Link {
    pub(crate) fn new(task: &StartedFor, acknowledged: Acknowledged) -> Arc<Self> {
        let state = LinkState {
            cx: None,
            waiting: None,
            waiter: None,
            in_hand: 0,
            acknowledged: 0,
            allowance: 0,
            alone: 0,
            origin: Origin { input: task.input, ..Origin::default() },
            headers: Headers::new(),
            batch: Vec::new(),
            given_at: 0,
            unacknowledged: Mark::default(),
            sent: Effects::new(),
            written: Layer::default(),
            unreleased: Unreleased::default(),
            read: RowsRead::default(),
            now: 0,
            asked_from_outside: false,
            kept: (acknowledged == Acknowledged::FinishedWork).then(Vec::new),
        };
        Arc::new(Self { state: Mutex::new(state), wakeup: Wakeup::new(&task.waker) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, LinkState> {
        lock(&self.state)
    }

    /// Lends the context to the agent. Until [`end_poll`](Self::end_poll) this thread may use it,
    /// and no other thread may.
    pub(crate) fn begin_poll(&self, mut cx: Box<TaskContext>) {
        let mut state = self.state();
        let LinkState { origin, headers, sent, written, unreleased, .. } = &mut *state;
        // While the agent runs, the context's current record is the agent's.
        mem::swap(&mut cx.origin, origin);
        mem::swap(&mut cx.headers, headers);
        cx.tables.enter_layer(written, unreleased);
        // The mark comes before the append. `end_poll` splits at the mark, so a commit between two
        // polls never includes unacknowledged sends.
        let mark = cx.effects.mark();
        if !sent.is_empty() {
            cx.effects.append(sent);
        }
        state.unacknowledged = mark;
        state.now = cx.elapsed;
        state.allowance = RECORDS_PER_POLL;
        state.cx = Some(cx);
        // The wait may be deep inside the agent, in a combinator that polls it only after its own
        // waker was called. Without this call, the combinator would never see the record.
        let is_deep = |waiter: &mut Waker| !self.wakeup.is_behind(waiter);
        let waiter = state.waiter.take_if(is_deep);
        // A waker is foreign code and may use this link, so it must not run under the lock.
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        // Clear before the poll, not after it: a wake-up during the poll must cause another poll.
        self.wakeup.clear();
        POLLED.set(self.address());
    }

    /// Takes the context back. A waiting `next()` or `take()` acknowledges the agent's records.
    /// Otherwise its sends and writes are set aside, where a commit cannot include them.
    pub(crate) fn end_poll(&self) -> (Box<TaskContext>, Polled) {
        POLLED.set(0);
        let mut state = self.state();
        if state.waiting.is_some() {
            state.acknowledge();
        }
        #[expect(clippy::expect_used, reason = "the agent only ever borrows what was lent")]
        let mut cx = state.cx.take().expect("a lent context comes back");
        let LinkState { origin, headers, sent, written, unreleased, unacknowledged, .. } =
            &mut *state;
        if cx.effects.len() > unacknowledged.records() {
            *sent = cx.effects.split_off(*unacknowledged);
        }
        cx.tables.leave_layer(written, unreleased);
        mem::swap(&mut cx.headers, headers);
        mem::swap(&mut cx.origin, origin);
        let polled = Polled {
            acknowledged: mem::take(&mut state.acknowledged),
            refused: Vec::new(),
            in_hand: state.in_hand,
            is_waiting: state.waiting.is_some(),
            asked_from_outside: state.asked_from_outside,
            failure: None,
        };
        (cx, polled)
    }

    /// Whether the agent is being polled by this thread.
    pub(crate) fn is_polled_here(&self) -> bool {
        POLLED.get() == self.address()
    }

    /// Reports that something other than the agent asked for its records. Those records could never
    /// be acknowledged correctly, so the task fails at its next poll.
    pub(crate) fn asked_from_outside(&self) {
        self.state().asked_from_outside = true;
        Waker::from(Arc::clone(&self.wakeup)).wake();
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl LinkState {
    /// The agent has finished its records: its sends and writes become the task's.
    pub(crate) fn acknowledge(&mut self) {
        let acknowledged = mem::take(&mut self.in_hand);
        self.acknowledged += acknowledged;
        let Some(cx) = self.cx.as_mut() else { return };
        if let Some(kept) = &mut self.kept {
            let has_sent = cx.effects.len() > self.unacknowledged.records();
            let sent = has_sent.then(|| cx.effects.split_off(self.unacknowledged));
            let done = FinishedWork {
                records: acknowledged,
                sent: sent.unwrap_or_default(),
                written: cx.tables.keep_layer(),
                read: mem::take(&mut self.read),
            };
            if !done.is_empty() {
                kept.push(done);
            }
            return;
        }
        cx.absorb_layer();
        self.unacknowledged = cx.effects.mark();
    }

    /// Whether acknowledged work is set aside for the owner of several futures.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes the acknowledged work that was set aside.
    pub(crate) fn take_kept(&mut self) -> Vec<FinishedWork> {
        self.kept.as_mut().map(mem::take).unwrap_or_default()
    }

    /// The agent received records, of which this is the last.
    pub(crate) fn give(&mut self, records: usize, origin: Origin, headers: Headers) {
        self.in_hand = records;
        self.allowance -= records.min(self.allowance);
        self.alone -= records.min(self.alone);
        self.given_at = self.now;
        if let Some(cx) = self.cx.as_mut() {
            cx.origin = origin;
            cx.headers = headers;
        }
    }

    /// The agent receives a batch that contains this record.
    pub(crate) fn note_in_batch(&mut self, offset: i64) {
        self.batch.push(offset);
    }

    /// The agent has no batch any more.
    pub(crate) fn forget_batch(&mut self) {
        self.batch.clear();
    }

    /// The offsets of the agent's records, if they are a batch.
    pub(crate) fn batch(&self) -> &[i64] {
        &self.batch
    }

    /// Whether these records are enough for what the agent waits for.
    pub(crate) fn is_satisfied_by(&self, queued: Queued) -> bool {
        match self.waiting {
            None => false,
            _ if queued.records == 0 => false,
            Some(Awaited::One) => true,
            Some(Awaited::Batch { count, .. }) => {
                let is_old = || self.deadline(queued).is_some_and(|at| at <= self.now);
                queued.records >= count || self.alone > 0 || is_old()
            }
        }
    }

    /// When a batch is delivered although it is not full.
    pub(crate) fn deadline(&self, queued: Queued) -> Option<Timestamp> {
        match self.waiting {
            Some(Awaited::Batch { within_ms, .. }) if queued.records > 0 => {
                Some(queued.since.saturating_add(within_ms))
            }
            _ => None,
        }
    }

    /// Notes how the wait can be woken.
    pub(crate) fn note_waiter(&mut self, waker: &Waker) {
        match &mut self.waiter {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

/// Wakes an agent and its task.
pub(crate) struct Wakeup {
    is_woken: AtomicBool,
    task: Mutex<Waker>,
}

impl Wakeup {
    /// Creates a wake-up for `task`. It starts woken, so that the agent gets its first poll.
    pub(crate) fn new(task: &Waker) -> Arc<Self> {
        let task = Mutex::new(task.clone());
        Arc::new(Self { is_woken: AtomicBool::new(true), task })
    }

    /// Whether something has woken the agent since it was last polled.
    pub(crate) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Acquire)
    }

    /// Notes that the agent is about to be polled.
    pub(crate) fn clear(&self) {
        self.is_woken.store(false, Ordering::Release);
    }

    /// Another thread drives the task from now on. Earlier wake-ups may have gone to the old waker
    /// only, so the agent counts as woken.
    pub(crate) fn set_task(&self, waker: &Waker) {
        lock(&self.task).clone_from(waker);
        self.is_woken.store(true, Ordering::Release);
    }

    /// Whether `waker` is this one.
    fn is_behind(self: &Arc<Self>, waker: &Waker) -> bool {
        waker.data().addr() == Arc::as_ptr(self).addr()
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the first wake-up since the last poll reaches the task; the others would repeat it.
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            // The clone lets the waker run without the lock: it is foreign code.
            let task = lock(&self.task).clone();
            task.wake();
        }
    }
}

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

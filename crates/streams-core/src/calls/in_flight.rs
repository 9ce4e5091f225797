//! The calls of one task that are in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};

use super::runner::{CallsRunner, Function};
use super::{Async, Call};
use crate::agent::{Polled, Refused, Running, StartedFor, Wakeup};
use crate::error::panic_text;
use crate::error::{Cause, Failure, FailureKind};
use crate::intake::RawChain;
use crate::receive::{Port, Receive};
use crate::record::{Headers, RawRecord, Record, Timestamp};
use crate::record_id::RecordId;
use crate::task_context::{Origin, TaskContext};
use crate::window::millis;

/// How many records' results are released in one poll. The limit gives other tasks their turn.
const RECORDS_PER_POLL: usize = 256;

/// Names a call: the number of its record since the task started, and the index among the calls
/// that operators made of that record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CallId {
    record: u64,
    call: usize,
}

/// The outcome of an attempt.
struct Attempt<V2> {
    call: CallId,
    number: u32,
    result: Result<V2, Cause>,
}

/// A record whose results are not yet released.
struct CalledRecord<K, V, V2> {
    origin: Origin,
    headers: Headers,
    /// The key's bytes, if calls with the same key wait for each other.
    serial: Option<Box<[u8]>>,
    calls: Vec<CallState<K, V, V2>>,
    /// How many calls have no result yet.
    left: usize,
    came_at: Timestamp,
}

struct CallState<K, V, V2> {
    record: Record<K, V>,
    attempts: u32,
    running: Option<AbortHandle>,
    timer: Option<Timestamp>,
    result: Option<Result<V2, Cause>>,
}

pub(super) struct InFlight<K, V, V2> {
    name: Arc<str>,
    settings: Async,
    intake: Arc<RawChain<K, V>>,
    function: Arc<Function<K, V, V2>>,
    results: Port<K, V2>,
    task: StartedFor,
    wakeup: Arc<Wakeup>,
    waker: Waker,
    entries: VecDeque<CalledRecord<K, V, V2>>,
    /// The number of the first entry.
    first: u64,
    /// Calls that can start, in order.
    ready: VecDeque<CallId>,
    /// Calls that wait for one with the same key. The key is present while one of them runs.
    serial: BTreeMap<Box<[u8]>, VecDeque<CallId>>,
    /// When attempts time out, and when the next ones start.
    timers: BTreeSet<(Timestamp, CallId)>,
    running: FuturesUnordered<BoxFuture<'static, Result<Attempt<V2>, Aborted>>>,
    /// How many of them were not given up.
    in_flight: usize,
}

impl<K, V, V2> InFlight<K, V, V2>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    V2: Send + 'static,
{
    pub(super) fn new(runner: &CallsRunner<K, V, V2>, task: &StartedFor) -> Self {
        let wakeup = Wakeup::new(&task.waker);
        Self {
            name: Arc::clone(&runner.name),
            settings: runner.settings.clone(),
            intake: Arc::clone(&runner.intake),
            function: Arc::clone(&runner.function),
            results: runner.results.clone(),
            task: task.clone(),
            waker: Waker::from(Arc::clone(&wakeup)),
            wakeup,
            entries: VecDeque::new(),
            first: 0,
            ready: VecDeque::new(),
            serial: BTreeMap::new(),
            timers: BTreeSet::new(),
            running: FuturesUnordered::new(),
            in_flight: 0,
        }
    }

    fn entry(&mut self, id: CallId) -> Option<&mut CalledRecord<K, V, V2>> {
        let place = id.record.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(place).ok()?)
    }

    fn call(&mut self, id: CallId) -> Option<&mut CallState<K, V, V2>> {
        self.entry(id)?.calls.get_mut(id.call)
    }

    /// Queues the calls of the last entry.
    fn queue_calls(&mut self) {
        let number = self.first + self.entries.len() as u64 - 1;
        let Some(entry) = self.entries.back() else { return };
        let serial = entry.serial.clone();
        for call in 0..entry.calls.len() {
            let id = CallId { record: number, call };
            match &serial {
                None => self.ready.push_back(id),
                Some(key) => match self.serial.get_mut(key) {
                    Some(waiting) => waiting.push_back(id),
                    None => {
                        self.serial.insert(key.clone(), VecDeque::new());
                        self.ready.push_back(id);
                    }
                },
            }
        }
    }

    fn start_calls(&mut self, now: Timestamp) {
        while self.in_flight < self.settings.in_flight {
            let Some(id) = self.ready.pop_front() else { return };
            self.start(id, now);
        }
    }

    fn start(&mut self, id: CallId, now: Timestamp) {
        let topic = Arc::clone(&self.task.topic);
        let partition = self.task.partition;
        let timeout = self.settings.timeout.map(millis);
        let Some(entry) = self.entry(id) else { return };
        let offset = entry.origin.offset;
        let Some(state) = entry.calls.get_mut(id.call) else { return };
        state.attempts += 1;
        let attempt = state.attempts;
        let index = id.call as u32;
        let id_of_record = RecordId { topic, partition, offset, index };
        let call = Call { record: state.record.clone(), id: id_of_record, attempt };
        let (handle, registration) = AbortHandle::new_pair();
        state.running = Some(handle);
        state.timer = timeout.map(|timeout| now.saturating_add(timeout));
        let timer = state.timer;
        let function = Arc::clone(&self.function);
        let name = Arc::clone(&self.name);
        let called = async move { function(call).await };
        let attempted = AssertUnwindSafe(called).catch_unwind().map(move |outcome| Attempt {
            call: id,
            number: attempt,
            result: outcome.map_or_else(
                |panic| Err(Cause::Panic(panic_text(&*panic))),
                |result| result.map_err(|source| failed(&name, source)),
            ),
        });
        self.running.push(Abortable::new(attempted, registration).boxed());
        self.in_flight += 1;
        self.timers.extend(timer.map(|at| (at, id)));
    }

    /// Ends attempts that have timed out, and starts attempts whose pause is over.
    fn fire_timers(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let Some(state) = self.call(id) else { continue };
            state.timer = None;
            let Some(running) = state.running.take() else {
                self.ready.push_back(id);
                continue;
            };
            running.abort();
            let number = state.attempts;
            let timeout = self.settings.timeout.unwrap_or_default();
            let source = format!("it has not returned within {timeout:?}").into();
            let result = Err(failed(&self.name, source));
            self.over(Attempt { call: id, number, result }, now);
        }
    }

    /// Handles the outcome of an attempt.
    fn over(&mut self, attempt: Attempt<V2>, now: Timestamp) {
        let Attempt { call: id, number, result } = attempt;
        let attempts = self.settings.attempts;
        let backoff = self.settings.backoff;
        let Some(entry) = self.entry(id) else { return };
        let seed = entry.origin.offset as u64;
        let Some(state) = entry.calls.get_mut(id.call) else { return };
        state.running = None;
        let timer = state.timer.take();
        let is_last = result.is_ok() || number >= attempts;
        let again = (!is_last).then(|| now.saturating_add(millis(backoff.after(number, seed))));
        if is_last {
            state.result = Some(result.map_err(|cause| after_attempts(cause, number)));
            entry.left -= 1;
        } else {
            state.timer = again;
        }
        let serial = entry.serial.clone().filter(|_| is_last);
        self.in_flight -= 1;
        // Remove the old timer before adding the new one. Both may be for the same moment, and then
        // the removal would delete the new one.
        if let Some(timer) = timer {
            self.timers.remove(&(timer, id));
        }
        self.timers.extend(again.map(|at| (at, id)));
        if let Some(key) = serial {
            self.next_with(&key);
        }
    }

    /// Lets the next call with that key start.
    fn next_with(&mut self, key: &[u8]) {
        let Some(waiting) = self.serial.get_mut(key) else { return };
        match waiting.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => drop(self.serial.remove(key)),
        }
    }

    /// Polls the calls that were woken, and starts others as they finish.
    fn run(&mut self, now: Timestamp) {
        let waker = self.waker.clone();
        let mut context = task::Context::from_waker(&waker);
        // Timers come first: an attempt that times out makes room for a call that can start now.
        self.fire_timers(now);
        self.start_calls(now);
        while let Poll::Ready(Some(outcome)) = self.running.poll_next_unpin(&mut context) {
            // The timeout of an aborted attempt was its outcome.
            let Ok(attempt) = outcome else { continue };
            // Only the current attempt of a call counts, so that a call never has two outcomes.
            let is_current = self
                .call(attempt.call)
                .is_some_and(|state| state.running.is_some() && state.attempts == attempt.number);
            if is_current {
                self.over(attempt, now);
            }
            self.start_calls(now);
        }
    }

    /// Releases the results of the first records, as far as they are complete.
    fn release(&mut self, cx: &mut TaskContext) -> (usize, Option<Cause>) {
        let mut released = 0;
        // Only from the front: the results continue in the order of the records, and the committed
        // position can only pass records whose results are released.
        while self.entries.front().is_some_and(|entry| entry.left == 0) {
            // Due work that the last result caused comes before further results, as it comes before
            // further records.
            if released == RECORDS_PER_POLL || cx.portion.is_used_up {
                self.waker.wake_by_ref();
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            self.first += 1;
            if let Err(failure) = self.hand_on(entry, cx) {
                self.waker.wake_by_ref();
                match failure.kind() {
                    FailureKind::Record(cause) => return (released, Some(cause)),
                    kind => cx.stop = Some(kind.into()),
                }
                break;
            }
            released += 1;
        }
        (released, None)
    }

    fn hand_on(&self, entry: CalledRecord<K, V, V2>, cx: &mut TaskContext) -> Result<(), Failure> {
        cx.origin = entry.origin;
        cx.headers = entry.headers;
        let mark = cx.begin_record(self.task.is_undoable);
        let handed = catch_unwind(AssertUnwindSafe(|| {
            entry.calls.into_iter().try_for_each(|state| {
                let Record { key, timestamp, .. } = state.record;
                let value = state.result.unwrap_or_else(|| Err(Cause::Panic(String::new())))?;
                self.results.receive(Record { key, value, timestamp }, cx)
            })
        }));
        let handed = handed.unwrap_or_else(|panic| Err(Cause::Panic(panic_text(&*panic)).into()));
        // User code may have hidden an error that must stop the task.
        let handed = cx.stop.take().map_or(handed, Err);
        if let (Err(failure), Some(mark)) = (&handed, mark)
            && !failure.stops()
        {
            cx.undo_record(mark);
        }
        handed
    }
}

impl<K, V, V2> Running for InFlight<K, V, V2>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    V2: Send + 'static,
{
    fn deliver(
        &mut self,
        raw: &RawRecord<'_>,
        origin: Origin,
        headers: &Headers,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let records = self.intake.take_in(raw, cx)?;
        let calls: Vec<_> = records
            .into_iter()
            .map(|record| CallState {
                record,
                attempts: 0,
                running: None,
                timer: None,
                result: None,
            })
            .collect();
        let serial = raw.key.filter(|_| self.settings.is_serial_per_key).map(Into::into);
        let headers = headers.clone();
        let left = calls.len();
        let came_at = cx.elapsed;
        self.entries.push_back(CalledRecord { origin, headers, serial, calls, left, came_at });
        self.queue_calls();
        Ok(self.is_due(came_at))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let can_start = || !self.ready.is_empty() && self.in_flight < self.settings.in_flight;
        self.wakeup.is_woken()
            || can_start()
            || self.entries.front().is_some_and(|entry| entry.left == 0)
            || self.deadline().is_some_and(|at| at <= now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn busy_since(&self) -> Option<Timestamp> {
        self.entries.front().map(|entry| entry.came_at)
    }

    fn in_hand(&self) -> usize {
        self.entries.len()
    }

    fn poll(&mut self, mut cx: Box<TaskContext>) -> (Box<TaskContext>, Polled) {
        // Clear before the poll, not after it: a wake-up during the poll must cause another poll.
        self.wakeup.clear();
        let origin = cx.origin;
        let headers = mem::take(&mut cx.headers);
        self.run(cx.elapsed);
        let (acknowledged, refused) = self.release(&mut cx);
        cx.origin = origin;
        cx.headers = headers;
        let polled = Polled {
            acknowledged,
            refused: refused
                .map(|cause| Refused { after: acknowledged, cause })
                .into_iter()
                .collect(),
            in_hand: self.entries.len(),
            is_waiting: false,
            asked_from_outside: false,
            failure: None,
        };
        (cx, polled)
    }

    fn set_task(&mut self, waker: &Waker) {
        self.wakeup.set_task(waker);
    }

    fn give_alone(&mut self, _: usize) {}

    fn of_topic(&self, index: usize) -> usize {
        index
    }
}

fn failed(name: &str, source: crate::error::BoxError) -> Cause {
    Cause::User { operator: format!("map_async {name}").into(), source }
}

fn after_attempts(cause: Cause, attempts: u32) -> Cause {
    match cause {
        Cause::User { operator, source } if attempts > 1 => {
            Cause::User { operator, source: format!("after {attempts} attempts: {source}").into() }
        }
        cause => cause,
    }
}

//! A user's processor: a function over records, with tables, several outputs and punctuations.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::Hook;
use super::expiring::Expiring;
use super::process_table::{DeclaredTable, ProcessTable};
use crate::due::Pass;
use crate::error::{BoxError, Cause, Failure};
use crate::moment::Interval;
use crate::receive::{Port, Receive};
use crate::record::{Headers, Record, Timestamp};
use crate::stream_clock::{ClockIndex, StreamClock};
use crate::table::Table;
use crate::task_context::TaskContext;

/// An error of a processor's function. `?` converts any error to it.
///
/// ```
/// use headwater::streams::ProcessError;
/// fn parse(text: &str) -> Result<i64, ProcessError> {
///     if text.is_empty() {
///         return Err(ProcessError::new("nothing to parse"));
///     }
///     Ok(text.parse()?)
/// }
/// # assert!(parse("x").is_err());
/// ```
pub struct ProcessError(ProcessErrorKind);

enum ProcessErrorKind {
    User(BoxError),
    /// A failure of the record, from an operator downstream.
    Record(Failure),
    /// User code must not decide: the task has kept the error itself, and stops.
    Stop(String),
}

impl ProcessError {
    /// Creates an error from a text or another error.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(ProcessErrorKind::User(cause.into()))
    }

    pub(super) fn into_failure(self, operator: &Arc<str>) -> Failure {
        match self.0 {
            ProcessErrorKind::User(source) => {
                Cause::User { operator: Arc::clone(operator), source }.into()
            }
            ProcessErrorKind::Record(failure) => failure,
            ProcessErrorKind::Stop(text) => {
                let operator = Arc::clone(operator);
                Cause::User { operator, source: text.into() }.into()
            }
        }
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ProcessErrorKind::User(error) => fmt::Debug::fmt(error, f),
            ProcessErrorKind::Record(failure) => fmt::Debug::fmt(failure, f),
            ProcessErrorKind::Stop(text) => f.write_str(text),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ProcessError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Converts a failure for user code.
pub(super) fn told(failure: Failure, cx: &mut TaskContext) -> ProcessError {
    ProcessError(if failure.stops() {
        ProcessErrorKind::Stop(cx.told(failure))
    } else {
        ProcessErrorKind::Record(failure)
    })
}

/// An additional output of a processor; see [`Process::output`](crate::Process::output).
pub struct Output<K, V>(pub(crate) Port<K, V>);

/// What a processor's function or a punctuation receives: its time, its tables and its outputs.
pub struct ProcessContext<'a, K, V> {
    cx: &'a mut TaskContext,
    forward: &'a Forward<K, V>,
    timestamp: Timestamp,
}

/// What a processor's function can access.
pub(crate) struct Forward<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) tables: Vec<DeclaredTable>,
    /// Those of its written tables whose rows expire.
    pub(crate) expiring: Vec<Arc<Expiring>>,
    pub(crate) clock: ClockIndex,
    pub(crate) next: Port<K, V>,
}

impl<K, V> Forward<K, V> {
    /// Handles what user code returned. An error that must stop the task counts, whatever user code
    /// did with it.
    fn done(&self, result: Result<(), ProcessError>, cx: &mut TaskContext) -> Result<(), Failure> {
        match cx.stop.take() {
            Some(failure) => Err(failure),
            None => result.map_err(|error| error.into_failure(&self.name)),
        }
    }
}

impl<K: 'static, V: 'static> ProcessContext<'_, K, V> {
    /// Forwards a record.
    pub fn forward(&mut self, record: Record<K, V>) -> Result<(), ProcessError> {
        let handed_on = self.forward.next.receive(record, self.cx);
        handed_on.map_err(|failure| told(failure, self.cx))
    }

    /// Forwards a record to an additional output.
    pub fn send<K2: 'static, V2: 'static>(
        &mut self,
        output: &Output<K2, V2>,
        record: Record<K2, V2>,
    ) -> Result<(), ProcessError> {
        let handed_on = output.0.receive(record, self.cx);
        handed_on.map_err(|failure| told(failure, self.cx))
    }

    /// Returns a table that was declared with [`Process::table`](crate::Process::table) or
    /// [`Process::reads`](crate::Process::reads).
    pub fn table<'c, T, U>(
        &'c mut self,
        table: &'c Table<T, U>,
    ) -> Result<ProcessTable<'c, T, U>, ProcessError> {
        let declared = self.forward.tables.iter().find(|held| held.name == table.name);
        let undeclared = || {
            let process = &self.forward.name;
            let table = &table.name;
            let how = format!("add .table(&{table}), or .reads(&{table}) if something else writes");
            ProcessError::new(format!("{process} uses {table} without declaring it: {how}"))
        };
        let held = declared.ok_or_else(undeclared)?;
        Ok(ProcessTable { cx: self.cx, table, held, timestamp: self.timestamp })
    }

    /// The time of the record or of the punctuation. Rows are written with it.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The highest timestamp of all records that have reached this processor.
    pub fn stream_time(&self) -> Timestamp {
        self.cx.clocks[self.forward.clock].time
    }

    /// The wall clock in milliseconds.
    pub fn now(&self) -> Timestamp {
        self.cx.now
    }

    /// The headers of the record, which forwarded records inherit. Punctuations have none.
    pub fn headers(&self) -> &Headers {
        &self.cx.headers
    }

    /// The headers, which can be changed for the records that are forwarded from here.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.cx.headers
    }
}

/// A function that is called as time passes.
pub(crate) type Punctuate<K, V> =
    Box<dyn Fn(Timestamp, &mut ProcessContext<'_, K, V>) -> Result<(), ProcessError> + Send + Sync>;

/// A periodic action.
pub(crate) struct Punctuator<K, V> {
    pub(crate) every_ms: i64,
    /// For a wall-clock action: the clock with the time of its last multiple. `None` if it uses
    /// stream time.
    pub(crate) wall_clock: Option<ClockIndex>,
    pub(crate) act: Punctuate<K, V>,
}

impl<K, V> Punctuator<K, V> {
    fn interval(&self) -> Interval {
        Interval { every_ms: self.every_ms }
    }
}

pub(crate) struct Processor<K2, V2, F> {
    pub(crate) forward: Forward<K2, V2>,
    pub(crate) punctuators: Vec<Punctuator<K2, V2>>,
    pub(crate) each: F,
}

impl<K, V, K2, V2, F> Receive<K, V> for Arc<Processor<K2, V2, F>>
where
    K: 'static,
    V: 'static,
    K2: 'static,
    V2: 'static,
    F: Fn(Record<K, V>, &mut ProcessContext<'_, K2, V2>) -> Result<(), ProcessError>
        + Send
        + Sync
        + 'static,
{
    fn receive(&self, record: Record<K, V>, cx: &mut TaskContext) -> Result<(), Failure> {
        let clock = &mut cx.clocks[self.forward.clock];
        let before = clock.time;
        clock.time = clock.time.max(record.timestamp);
        let time = clock.time;
        let timestamp = record.timestamp;
        self.forward.expiring.iter().for_each(|table| table.arrive(timestamp, cx));
        let mut context = ProcessContext { cx, forward: &self.forward, timestamp };
        let done = (self.each)(record, &mut context);
        self.forward.done(done, cx)?;
        for punctuator in self.punctuators.iter().filter(|one| one.wall_clock.is_none()) {
            let every = punctuator.every_ms;
            // One call, however many multiples have passed.
            if before == StreamClock::UNKNOWN || time / every > before / every {
                self.punctuate(punctuator, time, cx)?;
            }
        }
        self.forward.expiring.iter().try_for_each(|table| table.expire(cx))
    }
}

impl<K2: 'static, V2: 'static, F> Processor<K2, V2, F> {
    fn punctuate(
        &self,
        punctuator: &Punctuator<K2, V2>,
        at: Timestamp,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        cx.with_headers(Headers::new(), |cx| {
            let mut context = ProcessContext { cx, forward: &self.forward, timestamp: at };
            let done = (punctuator.act)(at, &mut context);
            self.forward.done(done, cx)
        })
    }

    fn wall_clocks(&self) -> impl Iterator<Item = (&Punctuator<K2, V2>, ClockIndex)> {
        self.punctuators.iter().filter_map(|one| Some((one, one.wall_clock?)))
    }
}

impl<K2: 'static, V2: 'static, F: Send + Sync> Hook for Processor<K2, V2, F> {
    /// The first multiple is the moment of the first start. It is committed, so a restart neither
    /// changes the phase nor forgets a multiple that is due.
    fn on_resume(&self, _: &[(ClockIndex, Pass)], cx: &mut TaskContext) {
        let now = cx.moment();
        for (punctuator, clock) in self.wall_clocks() {
            let clock = &mut cx.clocks[clock];
            if clock.time == StreamClock::UNKNOWN {
                clock.time = now.date;
            }
            clock.anchor = punctuator.interval().resume(&mut clock.time, now);
        }
    }

    fn on_time(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        for (punctuator, clock) in self.wall_clocks() {
            let now = cx.moment();
            let StreamClock { anchor, time, .. } = &mut cx.clocks[clock];
            // Missed multiples are not made up for, and the phase is preserved.
            if punctuator.interval().passes(anchor, time, now) {
                self.punctuate(punctuator, now.date, cx)?;
            }
        }
        Ok(())
    }

    fn next_wakeup(&self, cx: &TaskContext) -> Option<Timestamp> {
        self.wall_clocks().map(|(one, clock)| cx.clocks[clock].anchor + one.every_ms).min()
    }
}

//! What an operator sees while it processes a record: the task's tables, its time, its effects.

use std::any::Any;
use std::mem;
use std::sync::Arc;

use crate::codec::Codec;
use crate::due::Portion;
use crate::effect::{Destination, Effects, Mark};
use crate::error::{Cause, Failure};
use crate::global::Globals;
use crate::limits::TopicLimits;
use crate::moment::Moment;
use crate::operator_state::OperatorStates;
use crate::record::{Headers, RawRecord, Record, Timestamp};
use crate::state::tables::Tables;
use crate::state::unreleased::RecordWrites;
use crate::stream_clock::StreamClock;
use crate::task_metrics::TaskMetrics;
use crate::window::Plan;

/// The state of one task while it runs. All tasks share the operators: what an operator keeps
/// between records is here, in `states`.
pub struct TaskContext {
    pub(crate) tables: Tables,
    pub(crate) effects: Effects,
    pub(crate) globals: Arc<dyn Globals>,
    /// What the sink topics accept.
    pub(crate) limits: Arc<dyn TopicLimits>,
    /// The stream times of the operators, which are committed with the offsets.
    pub(crate) clocks: Box<[StreamClock]>,
    /// What the operators keep between records besides that.
    pub(crate) states: OperatorStates,
    /// The wall clock in milliseconds, as the worker gave it. No interval is measured by it.
    pub(crate) now: Timestamp,
    /// The monotonic clock in milliseconds, as the worker gave it.
    pub(crate) elapsed: Timestamp,
    /// The time on that clock up to which everything for this task is known to be processed.
    pub(crate) nothing_until: Timestamp,
    /// How far ahead of the clock the current source's records may be.
    pub(crate) max_ahead_ms: Option<i64>,
    /// The record that is being processed; meaningless in punctuations.
    pub(crate) origin: Origin,
    /// Its headers, which its outputs inherit.
    pub(crate) headers: Headers,
    /// The highest record timestamp that the task has seen since it started.
    pub(crate) latest: Timestamp,
    /// An error that stops the task, whatever an agent or a processor did with it.
    pub(crate) stop: Option<Failure>,
    pub(crate) metrics: TaskMetrics,
    /// The records that were too late since [`Task::take_late`](crate::Task::take_late) was last
    /// called.
    pub(crate) late: Option<Late>,
    pub(crate) key_buffer: Vec<u8>,
    pub(crate) value_buffer: Vec<u8>,
    pub(crate) plan: Plan,
    /// What the operators before an independent reader made of a record.
    pub(crate) collected: Vec<Box<dyn Any + Send>>,
    /// What is left of the portion of due work for this record or step.
    pub(crate) portion: Portion,
    /// How many due entries a record processes.
    pub(crate) portion_max: usize,
}

/// Records that were too late for a table.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) records: u64,
    /// The table of the last one, its origin, and the table's stream time.
    pub(crate) table: Arc<str>,
    pub(crate) origin: Origin,
    pub(crate) timestamp: Timestamp,
    pub(crate) stream_time: Timestamp,
}

/// Which record is being processed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// The number of the input that it came from.
    pub(crate) input: u32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
}

impl Origin {
    pub(crate) fn of(input: u32, record: &RawRecord<'_>) -> Self {
        Self { input, offset: record.offset, timestamp: record.timestamp }
    }
}

/// What must be undone if a record fails.
pub(crate) struct RecordMark {
    effects: Mark,
    clocks: Box<[StreamClock]>,
    metrics: TaskMetrics,
}

/// What an operator of your own may ask; see [`Stream::apply`](crate::Stream::apply).
impl TaskContext {
    /// The wall clock, in milliseconds since 1970. A date that is set changes it, and a record that
    /// is processed again meets another one: for results, use the record's timestamp.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The offset of the source record that is being processed, in its partition.
    pub fn source_offset(&self) -> i64 {
        self.origin.offset
    }

    /// The headers of the source record. What the operators send because of it carries them.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The headers, to be changed for the operators that follow in the chain.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}

impl TaskContext {
    /// The moment that the worker gave.
    pub(crate) fn moment(&self) -> Moment {
        Moment { date: self.now, elapsed_ms: self.elapsed }
    }

    pub(crate) fn set_moment(&mut self, now: Moment) {
        self.now = now.date;
        self.elapsed = now.elapsed_ms;
    }

    /// Sends a typed record. If its topic would refuse it, the current record fails: the log would
    /// report that only when it is too late to apply an error policy.
    pub(crate) fn send<K: 'static, V: 'static>(
        &mut self,
        to: Outlet<'_, K, V>,
        record: &Record<K, V>,
    ) -> Result<(), Failure> {
        let to_topic = Destination {
            topic: to.topic,
            partition: None,
            timestamp: record.timestamp,
            headers: &self.headers,
        };
        let encoded = self.effects.produce(
            to_topic,
            |out| to.key.encode(&record.key, out),
            |out| to.value.encode(&record.value, out),
        );
        let target = to.topic;
        let failed = |source| Failure::new(Cause::Encode { target: Arc::clone(target), source });
        let is_taken = encoded.map_err(failed)?;
        if is_taken { Ok(()) } else { self.check_last() }
    }

    /// Removes the last record if its topic would refuse it.
    #[cold]
    fn check_last(&mut self) -> Result<(), Failure> {
        self.effects.check_last(self.now, &*self.limits).map_err(|cause| {
            self.effects.take_back_last();
            cause.into()
        })
    }

    /// Sends bytes to a repartition topic of the application.
    pub(crate) fn send_bytes(
        &mut self,
        topic: &Arc<str>,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>),
        timestamp: Timestamp,
    ) -> Result<(), Failure> {
        let to_topic = Destination { topic, partition: None, timestamp, headers: &self.headers };
        let sent: Result<bool, std::convert::Infallible> = self.effects.produce(
            to_topic,
            |out| {
                out.extend_from_slice(key);
                Ok(true)
            },
            |out| {
                value(out);
                Ok(true)
            },
        );
        let Ok(is_taken) = sent;
        if is_taken { Ok(()) } else { self.check_last() }
    }

    /// Counts the current record as too late for every window of `table`.
    #[cold]
    pub(crate) fn drop_late(
        &mut self,
        table: &Arc<str>,
        timestamp: Timestamp,
        stream_time: Timestamp,
    ) {
        self.metrics.dropped_late += 1;
        let records = self.late.take().map_or(1, |before| before.records + 1);
        let table = Arc::clone(table);
        let origin = self.origin;
        self.late = Some(Late { records, table, origin, timestamp, stream_time });
    }

    /// Runs `work` with these headers instead of the record's, for results that the record only
    /// releases.
    pub(crate) fn with_headers<T>(
        &mut self,
        headers: Headers,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let of_record = mem::replace(&mut self.headers, headers);
        let result = work(self);
        self.headers = of_record;
        result
    }

    /// Describes an error to user code. If user code must not decide about it, the task keeps it.
    pub(crate) fn told(&mut self, failure: Failure) -> String {
        let text = failure.to_string();
        if failure.stops() {
            self.stop.get_or_insert(failure);
        }
        text
    }

    #[inline]
    pub(crate) fn begin_record(&mut self, undoable: bool) -> Option<RecordMark> {
        self.tables.begin_record(undoable);
        self.states.begin_record(undoable);
        self.portion.begin(self.portion_max, self.effects.bytes());
        undoable.then(|| RecordMark {
            effects: self.effects.mark(),
            clocks: self.clocks.clone(),
            metrics: self.metrics,
        })
    }

    /// Undoes everything that the record has done so far.
    pub(crate) fn undo_record(&mut self, mark: RecordMark) {
        self.tables.undo_record();
        self.effects.truncate(mark.effects);
        // The tables are restored, so what the operators knew of them is right again.
        self.states.undo_record();
        self.clocks = mark.clocks;
        self.tables.follow(&self.clocks);
        let is_late = self.metrics.dropped_late > mark.metrics.dropped_late;
        self.metrics = mark.metrics;
        if is_late {
            // The record counts as failed instead.
            self.late = None;
        }
    }

    /// Makes the writes of the layer part of the next commit.
    pub(crate) fn absorb_layer(&mut self) {
        self.tables.absorb_layer();
        self.portion.is_used_up |= self.tables.note_absorbed(&mut self.clocks);
    }

    /// Makes writes that were finished out of order part of the next commit.
    pub(crate) fn absorb(&mut self, writes: &RecordWrites) {
        self.tables.absorb(writes);
        self.portion.is_used_up |= self.tables.note_absorbed(&mut self.clocks);
    }

    /// Whether this portion may process one more due entry. If not, the task comes back to it.
    pub(crate) fn takes_one(&mut self) -> bool {
        self.portion.takes_one(self.effects.bytes())
    }
}

/// A topic to send to, with its codecs.
pub(crate) struct Outlet<'a, K, V> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) key: &'a dyn Codec<K>,
    pub(crate) value: &'a dyn Codec<V>,
}

//! What an operator sees while it processes a record: the task's tables, its time, its effects.

use std::mem;
use std::sync::Arc;

use crate::codec::Codec;
use crate::effect::{Destination, Effects, Mark};
use crate::error::{Cause, Failure};
use crate::global::Globals;
use crate::record::{Headers, Record, Timestamp};
use crate::tables::Tables;
use crate::task::TaskMetrics;
use crate::window::Plan;

/// The state of one task while it runs. Operators are shared by all tasks and have no state of
/// their own.
pub struct Cx {
    pub(crate) tables: Tables,
    pub(crate) effects: Effects,
    pub(crate) globals: Arc<dyn Globals>,
    pub(crate) clocks: Box<[Clock]>,
    /// Wall clock, in milliseconds, as the worker gave it.
    pub(crate) now: Timestamp,
    /// How far the current source's records may be ahead of it.
    pub(crate) max_ahead_ms: Option<i64>,
    /// The record that is being processed; meaningless in punctuations.
    pub(crate) origin: Origin,
    /// Its headers; they go on to the outputs that it causes.
    pub(crate) headers: Headers,
    /// The highest record timestamp that the task has seen since it started.
    pub(crate) latest: Timestamp,
    /// The task must stop, whatever an agent or a processor made of the error that it got.
    pub(crate) stop: Option<Failure>,
    pub(crate) metrics: TaskMetrics,
    pub(crate) key_buffer: Vec<u8>,
    pub(crate) value_buffer: Vec<u8>,
    pub(crate) plan: Plan,
}

/// Which record is being processed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// The number of the input that it came from.
    pub(crate) input: u32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
}

/// The number of a [`Clock`] in the topology.
pub(crate) type ClockIndex = usize;

/// Stream time of one operator, and what it needs to close windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The highest timestamp that reached the operator; [`Clock::UNKNOWN`] before the first
    /// record.
    pub(crate) time: Timestamp,
    /// When, by the wall clock, the last record reached it.
    pub(crate) arrival: Timestamp,
    /// The wall-clock moment that `time` belongs to while the input is idle.
    pub(crate) anchor: Timestamp,
    /// Nothing that waits to be closed does so before this; [`Clock::UNKNOWN`] until somebody has
    /// looked.
    pub(crate) first_open: Timestamp,
    /// The same for what waits to be forgotten.
    pub(crate) first_kept: Timestamp,
    /// Everything that this stream time closes was closed.
    pub(crate) closed_at: Timestamp,
    /// How many entries a buffer has, and their bytes; `None` until somebody has counted.
    pub(crate) held: Option<(u64, u64)>,
}

impl Clock {
    pub(crate) const UNKNOWN: Timestamp = Timestamp::MIN;

    pub(crate) fn new(time: Timestamp, now: Timestamp) -> Self {
        Self {
            time,
            arrival: now,
            anchor: now,
            first_open: Self::UNKNOWN,
            first_kept: Self::UNKNOWN,
            closed_at: time,
            held: None,
        }
    }
}

/// What a failed record must not leave behind.
pub(crate) struct RecordMark {
    effects: Mark,
    clocks: Box<[Clock]>,
    metrics: TaskMetrics,
}

impl Cx {
    /// Sends a typed record.
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
        encoded.map_err(|source| Failure::new(Cause::Encode { target: Arc::clone(target), source }))
    }

    /// Sends bytes to a repartition topic of the application.
    pub(crate) fn send_bytes(
        &mut self,
        topic: &Arc<str>,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>),
        timestamp: Timestamp,
    ) {
        let to_topic = Destination { topic, partition: None, timestamp, headers: &self.headers };
        let sent: Result<(), std::convert::Infallible> = self.effects.produce(
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
        let Ok(()) = sent;
    }

    /// Does `work` with these headers in place of the record's: for what the record only lets out.
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

    /// An error on its way to user code: one that is not for user code to decide about is kept.
    pub(crate) fn told(&mut self, failure: Failure) -> String {
        let text = failure.to_string();
        if failure.stops() {
            self.stop.get_or_insert(failure);
        }
        text
    }

    pub(crate) fn begin_record(&mut self, undoable: bool) -> Option<RecordMark> {
        self.tables.begin_record(undoable);
        undoable.then(|| RecordMark {
            effects: self.effects.mark(),
            clocks: self.clocks.clone(),
            metrics: self.metrics,
        })
    }

    /// The record has to wait, and what it sent waits with it: what is sent on cannot be taken
    /// back.
    pub(crate) fn suspend_record(&mut self, mark: &RecordMark) -> Effects {
        self.effects.split_off(mark.effects)
    }

    /// The record goes on, behind whatever was sent meanwhile.
    pub(crate) fn go_on_with_record(&mut self, mark: &mut RecordMark, mut held: Effects) {
        mark.effects = self.effects.mark();
        self.effects.append(&mut held);
    }

    /// Takes back everything that the record has done so far.
    pub(crate) fn undo_record(&mut self, mark: RecordMark) {
        self.tables.undo_record();
        self.effects.truncate(mark.effects);
        self.clocks = mark.clocks;
        self.metrics = mark.metrics;
        // A window that the record closed is open again.
        for clock in &mut self.clocks {
            (clock.first_open, clock.first_kept) = (Clock::UNKNOWN, Clock::UNKNOWN);
        }
    }
}

/// A topic to send to, with its codecs.
pub(crate) struct Outlet<'a, K, V> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) key: &'a dyn Codec<K>,
    pub(crate) value: &'a dyn Codec<V>,
}

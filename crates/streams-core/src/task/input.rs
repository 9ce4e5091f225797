//! One input of a task: the queue of a source's partition.

use std::collections::VecDeque;
use std::sync::Arc;

use super::agents::AgentSlot;
use super::progress::Progress;
use crate::agent::AgentRunner;
use crate::record::{RawRecord, RecordBatch, Timestamp};
use crate::topology::{Source, SourceKind};

/// The waiting records of one source partition, and the progress of each reader.
pub(crate) struct InputQueue {
    queue: VecDeque<Box<dyn RecordBatch>>,
    /// The memory that each batch uses.
    bytes: VecDeque<usize>,
    /// The next record of the first batch.
    next: usize,
    /// The next offset to process.
    position: i64,
    /// Records before this offset were already processed by the operators, and wait only for an
    /// agent.
    pub(crate) operators_from: i64,
    pub(crate) agents: Vec<AgentSlot>,
    /// Where the agents resume, until they are started.
    pub(crate) agents_from: Vec<i64>,
    /// The time of the next record's turn, if it was asked for.
    pub(crate) head_time: Option<Timestamp>,
    /// The log has nothing after what is queued.
    pub(crate) at_end: bool,
    /// If nothing is queued, the task waits for the next record.
    pub(crate) awaited: bool,
    /// Its topic exists only for ticks, and has no records.
    pub(crate) is_ticks: bool,
}

impl InputQueue {
    pub(crate) fn new(source: &Source) -> Self {
        Self {
            agents: Vec::new(),
            agents_from: Vec::new(),
            queue: VecDeque::new(),
            bytes: VecDeque::new(),
            next: 0,
            position: 0,
            operators_from: 0,
            head_time: None,
            at_end: false,
            awaited: true,
            is_ticks: source.kind == SourceKind::Ticks,
        }
    }

    pub(crate) fn resume(&mut self, offset: i64, progress: &Progress<'_>, source: &Source) {
        self.queue.clear();
        self.bytes.clear();
        self.next = 0;
        self.head_time = None;
        self.at_end = false;
        self.awaited = !self.is_ticks;
        self.position = offset;
        self.operators_from = progress.position(Progress::OPERATORS).unwrap_or(offset).max(offset);
        let from = |agent: &Arc<dyn AgentRunner>| {
            progress.position(agent.name()).unwrap_or(offset).max(offset)
        };
        self.agents.clear();
        self.agents_from = source.agents.iter().map(from).collect();
    }

    pub(crate) fn enqueue(&mut self, batch: Box<dyn RecordBatch>) {
        if !batch.is_empty() {
            self.bytes.push_back(batch.bytes());
            self.queue.push_back(batch);
            self.skip_old();
        }
    }

    pub(crate) fn queued(&self) -> usize {
        let all: usize = self.queue.iter().map(|batch| batch.len()).sum();
        all - self.next
    }

    /// The memory that waiting records use, including those for agents.
    pub(crate) fn queued_bytes(&self) -> usize {
        let agents = self.agents.iter().map(AgentSlot::pending_bytes);
        self.bytes.iter().copied().chain(agents).sum()
    }

    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Whether an agent lags so far behind that the operators wait for it.
    pub(crate) fn waits_for_agents(&self) -> bool {
        self.agents.iter().any(AgentSlot::is_far_behind)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The batch with the next record, and its index there.
    pub(crate) fn peek(&self) -> Option<(&dyn RecordBatch, usize)> {
        self.queue.front().map(|batch| (&**batch, self.next))
    }

    /// Takes the batch out, to be returned with [`put_back`](Self::put_back), so that its records
    /// can be borrowed while the task changes.
    pub(crate) fn take_batch(&mut self) -> Option<(Box<dyn RecordBatch>, usize)> {
        self.queue.pop_front().map(|batch| (batch, self.next))
    }

    pub(crate) fn put_back(&mut self, batch: Box<dyn RecordBatch>, next: usize) {
        self.next = next;
        self.head_time = None;
        if next < batch.len() {
            self.queue.push_front(batch);
        } else {
            self.next = 0;
            self.bytes.pop_front();
            self.skip_old();
        }
    }

    /// Marks the record as processed.
    pub(crate) fn passed(&mut self, record: &RawRecord<'_>) {
        self.position = record.offset + 1;
    }

    /// The position of the slowest reader, which may be committed.
    pub(crate) fn committable(&self) -> i64 {
        self.agents
            .iter()
            .map(|agent| agent.acknowledged(self.position))
            .min()
            .unwrap_or(i64::MAX)
            .min(self.operators_from.max(self.position))
    }

    /// Skips records before the position.
    fn skip_old(&mut self) {
        while let Some(batch) = self.queue.front() {
            let length = batch.len();
            while self.next < length && batch.record(self.next).offset < self.position {
                self.next += 1;
            }
            if self.next < length {
                return;
            }
            self.queue.pop_front();
            self.bytes.pop_front();
            self.next = 0;
        }
    }
}

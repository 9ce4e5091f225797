//! One task, driven as a worker drives it, without a log.

use std::hint::black_box;
use std::sync::Arc;

use state::MemoryStore;
use streams_core::{Effects, RecordBatch, Resume, Store, Task, TaskId, Topology};

use crate::feed::{EncodedRecords, RecordFeed};

/// Records that a worker lets a task process before it sends what came out.
const SLICE: usize = 1_000;

/// A task with the offsets of its inputs and changelogs.
pub struct Driver {
    task: Task,
    effects: Effects,
    offsets: Vec<i64>,
    changelogs: Vec<Option<i64>>,
}

impl Driver {
    /// The only task of a topology of one sub-topology, with tables in memory.
    pub fn new(topology: Topology) -> Self {
        let tables = topology.sub_topologies()[0].tables().len();
        Self::with_store(topology, Box::new(MemoryStore::new(tables)))
    }

    /// The same with tables in `store`.
    pub fn with_store(topology: Topology, store: Box<dyn Store>) -> Self {
        assert_eq!(topology.sub_topologies().len(), 1, "it has no repartition topic");
        let sub = &topology.sub_topologies()[0];
        let offsets = vec![0; sub.sources().len()];
        let changelogs = vec![Some(0); sub.tables().len()];
        let from = Resume { offset: 0, metadata: String::new(), committed: true };
        let resume = vec![from; offsets.len()];
        let id = TaskId { sub_topology: 0, partition: 0 };
        let mut task = Task::new(Arc::new(topology), id, store);
        task.resume(&resume, 0).expect("there is an offset for each input");
        // There is no log with more records than those queued.
        (0..offsets.len()).for_each(|input| task.observe(input, true, false));
        Self { task, effects: Effects::new(), offsets, changelogs }
    }

    /// Queues records as if they had just been fetched.
    pub fn feed(&mut self, input: usize, records: &Arc<EncodedRecords>, later_ms: i64) {
        let records = Arc::clone(records);
        let offset = self.offsets[input];
        self.feed_batch(input, Box::new(RecordFeed { records, offset, later_ms }));
    }

    /// Queues a batch that begins at [`offset`](Self::offset).
    pub fn feed_batch(&mut self, input: usize, batch: Box<dyn RecordBatch>) {
        self.offsets[input] += batch.len() as i64;
        self.task.enqueue(input, batch);
    }

    /// The offset after everything queued so far.
    pub fn offset(&self, input: usize) -> i64 {
        self.offsets[input]
    }

    /// Processes everything queued; returns how many records came out.
    pub fn run(&mut self) -> usize {
        let mut sent = 0;
        loop {
            let step = self.task.step(0, SLICE, &mut self.effects).expect("no record fails");
            sent += self.send();
            if !step.more {
                return black_box(sent);
            }
        }
    }

    /// Commits; returns how many records came out.
    pub fn commit(&mut self) -> usize {
        let commit =
            self.task.prepare_commit(&mut self.effects).expect("nothing stands in its way");
        black_box(commit);
        let sent = self.send();
        for position in self.changelogs.iter_mut().flatten() {
            *position += sent as i64;
        }
        self.task.committed(&self.changelogs, 0).expect("the store takes it");
        sent
    }

    fn send(&mut self) -> usize {
        let sent = black_box(self.effects.len());
        self.effects.clear();
        sent
    }
}

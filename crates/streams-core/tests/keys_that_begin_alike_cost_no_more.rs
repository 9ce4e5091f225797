//! A search for a key does not visit keys with the same prefix: `user-1` costs as much beside 5,000
//! keys `user-1…` as beside as many keys of one width.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater_streams_core::{
    Builder, Effects, JoinBuffers, JoinWindows, OwnedBatch, OwnedRecord, Resume, Session, Sliding,
    Store, StoreBatch, StoreError, StoreProvider, Suppress, Table, Task, TaskId, Timestamp, Topic,
    Topology, Tumbling, Windowed,
};
use headwater_testkit::faults::SurvivingStores;

const KEYS: usize = 5_000;
const RECORDS: usize = 20;

/// A store that counts the visited entries.
struct Counting {
    store: Box<dyn Store>,
    visits: Arc<AtomicUsize>,
}

impl Store for Counting {
    fn get(&self, table: usize, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.store.get(table, key, value)
    }

    fn scan(
        &self,
        table: usize,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(table, from, to, &mut |key, value| {
            self.visits.fetch_add(1, Ordering::Relaxed);
            visit(key, value)
        })
    }

    fn position(&self, table: usize) -> Result<Option<i64>, StoreError> {
        self.store.position(table)
    }

    fn as_of(&self, table: usize) -> Result<Option<Timestamp>, StoreError> {
        self.store.as_of(table)
    }

    fn apply(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.store.apply(batch)
    }

    fn clear(&mut self, table: usize) -> Result<(), StoreError> {
        self.store.clear(table)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.store.flush()
    }
}

fn topic(name: &str) -> Topic<String, i64> {
    Topic::new(name)
}

fn out() -> Topic<String, i64> {
    topic("out")
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn named(window: Windowed<String>, count: u64) -> (String, i64) {
    (window.key, count as i64)
}

fn sessions() -> Topology {
    let app = Builder::new("t");
    let grouped = app.stream(&topic("in")).group_by_key().window(Session::of(second()));
    grouped.count(&Table::new("counts")).closed().map(named).to(&out());
    app.build().expect("valid")
}

fn sliding() -> Topology {
    let app = Builder::new("t");
    let grouped = app.stream(&topic("in")).group_by_key().window(Sliding::of(second()));
    grouped.count(&Table::new("counts")).updates().map(named).to(&out());
    app.build().expect("valid")
}

fn cogrouped() -> Topology {
    let app = Builder::new("t");
    let both = app.stream(&topic("in")).group_by_key().cogroup(|sum: &mut i64, _, n| *sum += n);
    let both = both.with(app.stream(&topic("other")).group_by_key(), |sum, _, n| *sum -= n);
    let sums = both.window(Session::of(second())).aggregate_merging(
        &Table::new("sums"),
        || 0,
        |_, first, second| first + second,
    );
    sums.closed().map(|window, sum| (window.key, sum)).to(&out());
    app.build().expect("valid")
}

fn joined() -> Topology {
    let app = Builder::new("t");
    let joined = app.stream(&topic("in")).outer_join(
        app.stream(&topic("other")),
        JoinWindows::within(second()),
        &JoinBuffers::json("pairs"),
        |_, left, right| left.unwrap_or(&0) + right.unwrap_or(&0),
    );
    joined.to(&out());
    app.build().expect("valid")
}

fn suppressed() -> Topology {
    let app = Builder::new("t");
    let windows = app.stream(&topic("in")).group_by_key().window(Tumbling::of(3600 * second()));
    let table = windows.count(&Table::new("counts")).into_table();
    let last = table.suppress(Suppress::until_window_closes(), "last").to_stream();
    last.map(|window, count| (window.key, count.unwrap_or(0) as i64)).to(&out());
    app.build().expect("valid")
}

/// A task with all its inputs and its own offsets.
struct Driven {
    task: Task,
    offsets: Vec<i64>,
}

impl Driven {
    fn over(topology: Topology, visits: &Arc<AtomicUsize>) -> Self {
        let sub = &topology.sub_topologies()[0];
        let names: Vec<_> = sub.tables().iter().map(|table| Arc::clone(table.name())).collect();
        let store = SurvivingStores::new().open("0-0", &names).expect("opens");
        let store = Box::new(Counting { store, visits: Arc::clone(visits) });
        let offsets = vec![0; sub.sources().len()];
        let id = TaskId { sub_topology: 0, partition: 0 };
        let mut task = Task::new(Arc::new(topology), id, store);
        let from = Resume { offset: 0, metadata: String::new(), committed: true };
        task.resume(&vec![from; offsets.len()], 0).expect("resumes");
        Self { task, offsets }
    }

    fn process(&mut self, input: usize, records: impl Iterator<Item = (String, Timestamp)>) {
        let records = records.enumerate().map(|(number, (key, timestamp))| OwnedRecord {
            offset: self.offsets[input] + number as i64,
            timestamp,
            key: Some(key.into_bytes().into()),
            value: Some(1_i64.to_be_bytes().into()),
            ..OwnedRecord::default()
        });
        let records: Vec<_> = records.collect();
        self.offsets[input] += records.len() as i64;
        self.task.enqueue(input, Box::new(OwnedBatch::from(records)));
        (0..self.offsets.len()).for_each(|input| self.task.observe(input, true, false));
        let mut effects = Effects::new();
        while self.task.step(0, 1_000, &mut effects).expect("no record fails").more {
            effects.clear();
        }
    }

    fn commit(&mut self) {
        self.task.prepare_commit(&mut Effects::new()).expect("nothing stands in its way");
        self.task.committed(&[], 0).expect("the store takes it");
    }
}

/// How many entries are visited for a record of `user-1` when there are many keys made by `key`.
fn visits(topology: Topology, key: fn(usize) -> String) -> usize {
    let visits = Arc::default();
    let mut driven = Driven::over(topology, &visits);
    for input in 0..driven.offsets.len() {
        driven.process(input, (0..KEYS).map(|number| (key(number), 1_000)));
    }
    driven.commit();
    visits.store(0, Ordering::Relaxed);
    for input in 0..driven.offsets.len() {
        driven.process(input, (0..RECORDS).map(|at| ("user-1".to_owned(), 1_000 + at as i64)));
    }
    visits.load(Ordering::Relaxed) / RECORDS
}

fn fixed(number: usize) -> String {
    format!("user-{:07}", number + 2_000_000)
}

fn begins_alike(number: usize) -> String {
    format!("user-1{number}")
}

#[test]
fn a_key_costs_the_same_beside_keys_with_its_prefix() {
    let topologies: [(&str, fn() -> Topology); 5] = [
        ("sessions", sessions),
        ("sliding windows", sliding),
        ("a cogroup of sessions", cogrouped),
        ("a stream join", joined),
        ("suppress", suppressed),
    ];
    for (name, topology) in topologies {
        let alone = visits(topology(), fixed);
        let among = visits(topology(), begins_alike);
        for (visits, others) in [(alone, "of one width"), (among, "that begin alike")] {
            assert!(visits <= 2, "{name}: {visits} entries for a record, beside keys {others}");
        }
    }
}

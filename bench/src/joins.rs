//! Joins.

use std::sync::Arc;
use std::time::Duration;

use streams_core::codec::Bytes;
use streams_core::{Builder, JoinBuffers, JoinWindows, Table, Topic};
use testkit::Dice;

use crate::driver::Driver;
use crate::feed::EncodedRecords;
use crate::workload::{Workload, WorkloadKind};

const RECORDS: usize = 4_000;
const KEYS: usize = 400;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = RECORDS as u64;
    vec![
        WorkloadKind::counted("join/stream_table", N, stream_table),
        WorkloadKind::counted("join/table_table", N, table_table),
        // About one partner for each record.
        WorkloadKind::counted("join/stream_stream", N, || stream_stream(RECORDS)),
    ]
}

fn topic(name: &str) -> Topic<u64, u64> {
    Topic::new(name)
}

/// Records with random keys, this many milliseconds apart.
fn records(seed: u64, count: usize, every_ms: i64) -> Arc<EncodedRecords> {
    let mut dice = Dice::new(seed);
    let record = |n| (dice.below(KEYS) as u64, dice.roll(), n as i64 * every_ms);
    EncodedRecords::of(&topic("any"), (0..count).map(record))
}

/// The number of the input that `name` is.
fn input(app: &streams_core::Topology, name: &str) -> usize {
    let sources = app.sub_topologies()[0].sources();
    sources.iter().position(|source| &*source.topic == name).expect("it is a source")
}

fn stream_table() -> Box<dyn Workload> {
    let app = Builder::new("join");
    let table = app.table(&topic("rows"), &Table::new("rows"));
    let joined = app.stream(&topic("events")).join_table(&table, |_, event, row| event ^ row);
    joined.to(&topic("out"));
    let topology = app.build().expect("a topology");
    let rows = input(&topology, "rows");
    let events = input(&topology, "events");
    let mut task = Driver::new(topology);
    task.feed(
        rows,
        &EncodedRecords::of(&topic("any"), (0..KEYS as u64).map(|key| (key, key, 0))),
        0,
    );
    task.run();
    task.commit();
    let records = records(31, RECORDS, 0);
    Box::new(move || {
        task.feed(events, &records, 0);
        assert_eq!(task.run(), RECORDS, "each record finds its row");
        task.commit();
    })
}

fn table_table() -> Box<dyn Workload> {
    let app = Builder::new("join");
    let left = app.table(&topic("left"), &Table::new("left"));
    let right = app.table(&topic("right"), &Table::new("right"));
    left.join(&right, |_, left, right| left ^ right)
        .to_stream()
        .to(&Topic::<u64, Option<u64>>::new("out"));
    both(app, RECORDS, 0)
}

/// A join of two streams, with a commit after this many records.
pub fn stream_stream(records: usize) -> Box<dyn Workload> {
    let app = Builder::new("join");
    let left = app.stream(&topic("left"));
    let right = app.stream(&topic("right"));
    let within = JoinWindows::within(Duration::from_millis(500));
    let buffers = JoinBuffers::with("buffers", Bytes, Bytes, Bytes);
    left.join(right, within, &buffers, |_, left, right| left ^ right).to(&topic("out"));
    both(app, records, 2)
}

/// Half of the records on either side.
fn both(app: Builder, count: usize, every_ms: i64) -> Box<dyn Workload> {
    let topology = app.build().expect("a topology");
    let inputs = [input(&topology, "left"), input(&topology, "right")];
    let mut task = Driver::new(topology);
    let sides = [32, 33].map(|seed| records(seed, count / 2, every_ms));
    let mut later_ms = 0;
    let mut run = move || {
        for (input, records) in inputs.into_iter().zip(&sides) {
            task.feed(input, records, later_ms);
        }
        assert!(task.run() > 0, "some records find a partner");
        task.commit();
        later_ms += every_ms * (count / 2) as i64;
    };
    (0..4).for_each(|_| run());
    Box::new(run)
}

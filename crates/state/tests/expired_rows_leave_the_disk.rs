//! A table with a ttl in RocksDB: its rows and what says when they expire are there after it was
//! opened again, and nothing of a row that expired stays on the disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{
    Builder, Effects, InputOffset, OwnedBatch, OwnedRecord, Resume, Store, StoreProvider, Table,
    TableName, Task, TaskId, Topic, Topology,
};

const TTL_MS: i64 = 100;
const KEYS: i64 = 40;

fn topology() -> Topology {
    let app = Builder::new("t");
    let rows = Table::<String, i64>::new("rows").ttl(Duration::from_millis(TTL_MS as u64));
    app.stream(&Topic::<String, i64>::new("in")).to_table(&rows);
    app.build().expect("valid")
}

fn task(directory: &Path, topology: &Arc<Topology>, from: Resume) -> Task {
    let id = TaskId { sub_topology: 0, partition: 0 };
    let mut task = Task::new(Arc::clone(topology), id, open(directory, topology));
    task.resume(&[from], 0).expect("resumes");
    task.observe(0, true, false);
    task
}

fn open(directory: &Path, topology: &Topology) -> Box<dyn Store> {
    let stores = RocksStores::open(directory, RocksOptions::default()).expect("opens");
    let tables = topology.sub_topologies()[0].tables();
    let names: Vec<TableName> = tables.iter().map(|table| Arc::clone(table.name())).collect();
    stores.open("0-0", &names).expect("opens")
}

/// One record of each time: the row of a key is written again after `KEYS` ms, some are not.
fn record(at: i64) -> OwnedRecord {
    let key = if at % 3 == 0 { at } else { at % KEYS };
    OwnedRecord {
        offset: at,
        key: Some(format!("key {key}").into_bytes().into()),
        value: Some(at.to_be_bytes().into()),
        timestamp: at,
        ..OwnedRecord::default()
    }
}

#[test]
fn rows_are_there_again_and_expired_ones_are_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let topology = Arc::new(topology());
    let mut from = Resume { offset: 0, metadata: String::new(), committed: true };
    let mut alive = BTreeMap::new();
    for life in 0..20 {
        let mut task = task(directory.path(), &topology, from.clone());
        let times = life * 50..(life + 1) * 50;
        let records: Vec<_> = times.clone().map(record).collect();
        for (record, at) in records.iter().zip(times) {
            alive.insert(record.key.clone().expect("a key"), at);
            alive.retain(|_, written| *written > at - TTL_MS);
        }
        task.enqueue(0, Box::new(OwnedBatch::from(records)));
        for turn in 0..10 {
            task.step(turn, 1_000, &mut Effects::new()).expect("goes on");
            task.advance(turn, &mut Effects::new()).expect("goes on");
        }
        let mut commit = task.prepare_commit(&mut Effects::new()).expect("commits");
        let InputOffset { offset, metadata, .. } = commit.offsets.remove(0);
        task.committed(&[Some(offset)], 0).expect("is kept");
        assert_eq!(offset, (life + 1) * 50);
        from = Resume { offset, metadata, committed: true };
        task.store_mut().flush().expect("flushes");
        drop(task);
        assert_eq!(rows(&*open(directory.path(), &topology)), alive, "life {life}");
    }
}

/// The rows on the disk, with their times. Each has an entry that says when to look at it.
fn rows(store: &dyn Store) -> BTreeMap<Box<[u8]>, i64> {
    let mut rows = BTreeMap::new();
    let mut entries = 0;
    let mut show = |key: &[u8], stored: &[u8]| {
        match key.split_first() {
            Some((0, key)) => {
                let at = stored.first_chunk::<8>().expect("a time");
                rows.insert(key.into(), i64::from_be_bytes(*at));
            }
            _ => entries += 1,
        }
        ControlFlow::Continue(())
    };
    store.scan(0, b"", None, &mut show).expect("reads");
    assert_eq!(entries, rows.len(), "entries that say when to look");
    rows
}

//! After `kill -9` a RocksDB table is at some batch: its entries are exactly those of its position.
//! It may have lost whole batches, never part of one.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{Store, StoreBatch, StoreProvider, TableBatch, TableName};

const DIRECTORY: &str = "HEADWATER_TEST_DIRECTORY";
const KEYS: i64 = 500;

/// Ten such values are ingested as a file.
const LOADED: usize = 120 << 10;

fn open(directory: &Path) -> Box<dyn Store> {
    // Small limits: flushes happen all the time, so that kills hit them.
    let options =
        RocksOptions { flush_after_entries: 2_000, memory_max: 16 << 20, ..Default::default() };
    let stores = RocksStores::open(directory, options).expect("opens");
    let tables: [TableName; 2] = ["one".into(), "two".into()];
    stores.open("task", &tables).expect("opens")
}

/// Batch `number` sets a few keys to `number`, always the same keys.
fn keys_of(number: i64) -> Vec<i64> {
    let mut keys: Vec<i64> = (0..10).map(|i| (number * 7 + i * 53) % KEYS).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Not a test: the child process runs it until it is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let mut store = open(directory.as_ref());
    let mut number = store.position(0).expect("reads").unwrap_or(0);
    let mut other = store.position(1).expect("reads").unwrap_or(0);
    loop {
        number += 1;
        other += 1;
        let tables = vec![batch(0, number, 0), batch(1, other, 0)];
        store.apply(&StoreBatch { tables, at: 0 }).expect("applies");
        if number % 100 == 0 {
            number += 1;
            store.load(batch(0, number, LOADED), 0).expect("loads");
        }
    }
}

/// With values that are so much longer than the number.
fn batch(table: usize, number: i64, longer: usize) -> TableBatch {
    let value = [&number.to_be_bytes()[..], &vec![0; longer]].concat();
    let entries = keys_of(number).into_iter().map(|key| (key.to_be_bytes(), Some(&value)));
    TableBatch { table, entries: entries.collect(), position: Some(number) }
}

fn check(store: &dyn Store, table: usize) -> i64 {
    let position = store.position(table).expect("reads").unwrap_or(0);
    let mut expected = vec![0; KEYS as usize];
    for number in 1..=position {
        for key in keys_of(number) {
            expected[key as usize] = number;
        }
    }
    let mut found = vec![0; KEYS as usize];
    let scanned = store.scan(table, &[], None, &mut |key, value| {
        let key = i64::from_be_bytes(key.try_into().expect("a key"));
        found[key as usize] = i64::from_be_bytes(*value.first_chunk().expect("a value"));
        ControlFlow::Continue(())
    });
    scanned.expect("scans");
    assert_eq!(found, expected, "table {table} at position {position}");
    position
}

#[test]
fn entries_are_those_of_the_position() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut positions = Vec::new();
    for round in 0..10_u64 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        thread::sleep(Duration::from_millis(150 + 37 * round));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let store = open(directory.path());
        positions.push(check(&*store, 0));
        check(&*store, 1);
    }
    assert!(positions.is_sorted(), "it went back: {positions:?}");
    assert!(positions.last() > Some(&0), "nothing was ever on disk: {positions:?}");
}

//! A table far larger than the memory that it may take: what a look-up reads does not grow with the
//! table. Filters and indexes in one piece for each file are larger than what the cache holds in
//! one of its parts, and would be read again for each key.

use std::time::{Duration, Instant};

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{Store, StoreBatch, StoreProvider, TableBatch};

const MEMORY: usize = 8 << 20;
const KEYS: u32 = 1_000_000;
const BATCH: u32 = 50_000;
const LOOK_UPS: u32 = 2_000;
const BYTES_MAX: usize = 16 << 10;
const COMPACTION_MAX: Duration = Duration::from_secs(30);

/// What this thread has read from files so far, those that the system holds in memory included.
fn read() -> usize {
    let counters = std::fs::read_to_string("/proc/thread-self/io").expect("Linux");
    let read = counters.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.expect("there").parse().expect("a number")
}

/// Keys in no order, each number's its own: the factor is odd.
fn key(number: u32) -> [u8; 4] {
    number.wrapping_mul(0x9e37_79b1).to_be_bytes()
}

fn filled(provider: &RocksStores) -> Box<dyn Store> {
    let mut store = provider.open("task", &["counts".into()]).expect("opens");
    for from in (0..KEYS).step_by(BATCH as usize) {
        let mut keys: Vec<_> = (from..from + BATCH).map(key).collect();
        keys.sort_unstable();
        let entries = keys.into_iter().map(|key| (key, Some(key))).collect();
        let position = Some(i64::from(from + BATCH));
        let tables = vec![TableBatch { table: 0, entries, position }];
        store.apply(&StoreBatch { tables, at: 0 }).expect("applies");
    }
    store.flush().expect("flushes");
    store
}

/// What a look-up reads, in bytes: of keys that are there, or of others.
fn read_for_each(store: &dyn Store, are_there: bool) -> usize {
    let before = read();
    let first = if are_there { 0 } else { KEYS };
    let mut value = Vec::new();
    for number in (0..KEYS).step_by((KEYS / LOOK_UPS) as usize) {
        let key = key(first + number);
        assert_eq!(store.get(0, &key, &mut value).expect("looks"), are_there);
        assert!(!are_there || value == key);
    }
    (read() - before) / LOOK_UPS as usize
}

#[test]
fn of_a_million_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = RocksOptions { memory_max: MEMORY, ..RocksOptions::default() };
    let provider = RocksStores::open(directory.path(), options).expect("opens");
    let store = filled(&provider);
    let begun = Instant::now();
    for are_there in [true, false] {
        // While the last files are sorted into the others there are a dozen to go through.
        let mut each = read_for_each(&*store, are_there);
        while each >= BYTES_MAX && begun.elapsed() < COMPACTION_MAX {
            std::thread::sleep(Duration::from_millis(100));
            each = read_for_each(&*store, are_there);
        }
        println!("{each} bytes read for a look-up, there: {are_there}");
        assert!(each < BYTES_MAX, "{each} bytes read for a look-up, there: {are_there}");
    }
}

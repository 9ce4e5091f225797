//! In a table far larger than its memory, the bytes that a look-up reads do not grow with the
//! table. Unpartitioned filters and indexes of a file would not fit in a shard of the cache, and
//! would be read again for each key.

use std::time::{Duration, Instant};

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{Store, StoreBatch, StoreProvider, TableBatch};

const MEMORY: usize = 8 << 20;
const KEYS: u32 = 1_000_000;
const BATCH: u32 = 50_000;
const LOOK_UPS: u32 = 2_000;
const BYTES_MAX: usize = 16 << 10;
const COMPACTION_MAX: Duration = Duration::from_secs(30);

/// The bytes that this thread has read from files so far, including cached ones.
fn read() -> usize {
    let counters = std::fs::read_to_string("/proc/thread-self/io").expect("Linux");
    let read = counters.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.expect("there").parse().expect("a number")
}

/// A different key for each number, in no order: the factor is odd.
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

/// The bytes that a look-up reads, for existing keys or for others.
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
fn look_ups_in_a_million_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = RocksOptions { memory_max: MEMORY, ..RocksOptions::default() };
    let provider = RocksStores::open(directory.path(), options).expect("opens");
    let store = filled(&provider);
    let begun = Instant::now();
    for are_there in [true, false] {
        // Until the last files are compacted there are a dozen to search.
        let mut each = read_for_each(&*store, are_there);
        while each >= BYTES_MAX && begun.elapsed() < COMPACTION_MAX {
            std::thread::sleep(Duration::from_millis(100));
            each = read_for_each(&*store, are_there);
        }
        println!("{each} bytes read for a look-up, there: {are_there}");
        assert!(each < BYTES_MAX, "{each} bytes read for a look-up, there: {are_there}");
    }
}

//! A table far larger than the memory that it may take: what a look-up reads does not grow with the
//! table. Filters and indexes in one piece for each file are larger than what the cache holds in
//! one of its parts, and would be read again for each key.

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{Store, StoreBatch, StoreProvider, TableBatch};

const MEMORY: usize = 8 << 20;
const KEYS: u32 = 1_000_000;
const BATCH: u32 = 50_000;
const LOOK_UPS: u32 = 2_000;

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

#[test]
fn of_a_million_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = RocksOptions { memory_max: MEMORY, ..RocksOptions::default() };
    let provider = RocksStores::open(directory.path(), options).expect("opens");
    let store = filled(&provider);
    let mut value = Vec::new();
    // Those that are there, and others that are not.
    for (first, is_there) in [(0, true), (KEYS, false)] {
        let before = read();
        for number in (0..KEYS).step_by((KEYS / LOOK_UPS) as usize) {
            let key = key(first + number);
            assert_eq!(store.get(0, &key, &mut value).expect("looks"), is_there);
            assert!(!is_there || value == key);
        }
        let each = (read() - before) / LOOK_UPS as usize;
        println!("{each} bytes read for a look-up, there: {is_there}");
        assert!(each < 64 << 10, "{each} bytes read for a look-up, there: {is_there}");
    }
}

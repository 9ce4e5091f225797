//! Two hundred stores write four times their budget, which is half of the application's. The
//! process stays within that budget and a fifth of the application's, which covers what each open
//! database costs besides blocks and write buffers.

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{StoreBatch, StoreProvider, TableBatch, TableName};

const BUDGET: usize = 128 << 20;
const STORES: usize = 200;

/// Resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number") << 10
}

#[test]
fn the_memory_of_two_hundred_stores_is_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = RocksOptions { memory_max: BUDGET, ..RocksOptions::default() };
    let provider = RocksStores::open(directory.path(), options).expect("opens");
    let tables: [TableName; 1] = ["counts".into()];
    let before = resident();
    let open = |number| provider.open(&format!("task-{number}"), &tables).expect("opens");
    let mut stores: Vec<_> = (0..STORES).map(open).collect();
    let opened = resident() - before;
    for round in 0..25_u32 {
        for store in &mut stores {
            let value = [round as u8; 100];
            let key = |key: u32| (key * 100 + round).to_be_bytes();
            let entries = (0..1_000).map(|number| (key(number), Some(value)));
            let position = Some(i64::from(round));
            let tables = vec![TableBatch { table: 0, entries: entries.collect(), position }];
            store.apply(&StoreBatch { tables, at: 0 }).expect("applies");
        }
    }
    let grown = resident() - before;
    println!("accounted: {} MiB", provider.memory_bytes() >> 20);
    println!("opened: {} MiB, written: {} MiB", opened >> 20, grown >> 20);
    assert!(provider.memory_bytes() <= BUDGET, "{} bytes", provider.memory_bytes());
    assert!(grown < BUDGET + 2 * BUDGET / 5, "{} MiB", grown >> 20);
}

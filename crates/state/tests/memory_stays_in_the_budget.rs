//! Fifty stores that write eight times the budget: what the process takes stays near the budget,
//! and does not grow with the number of stores or with what they hold.

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{StoreBatch, StoreProvider, TableBatch, TableName};

const BUDGET: usize = 64 << 20;
const STORES: usize = 50;

/// Resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number") << 10
}

#[test]
fn of_fifty_stores() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = RocksOptions { memory_max: BUDGET, ..RocksOptions::default() };
    let provider = RocksStores::open(directory.path(), options).expect("opens");
    let tables: [TableName; 1] = ["counts".into()];
    let before = resident();
    let open = |number| provider.open(&format!("task-{number}"), &tables).expect("opens");
    let mut stores: Vec<_> = (0..STORES).map(open).collect();
    let opened = resident() - before;
    // Half a gigabyte in all.
    for round in 0..100_u32 {
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
    println!("opened: {} MiB, written: {} MiB", opened >> 20, grown >> 20);
    // Beside the budget a database has costs of its own: its versions and open files, and what
    // flushes and compactions hold for a moment.
    assert!(grown < 3 * BUDGET, "{} MiB", grown >> 20);
}

//! However much is loaded, and however quickly, a table has few level-0 files: each look-up
//! searches all of them, and their filters take memory.

use std::path::Path;

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{StoreProvider, TableBatch};

const LOADS: u64 = 100;
const ENTRIES: u64 = 50_000;

/// Apart from those being compacted, and the result.
const FILES_MAX: usize = 30;

/// Consecutive keys are from all over the table.
fn key(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn load(number: u64) -> TableBatch {
    let entries = number * ENTRIES..(number + 1) * ENTRIES;
    let mut keys: Vec<u64> = entries.map(key).collect();
    keys.sort_unstable();
    let entries = keys.iter().map(|key| (key.to_be_bytes(), Some([key.to_le_bytes(); 2].concat())));
    TableBatch { table: 0, entries: entries.collect(), position: Some(number as i64) }
}

fn files(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory).expect("reads");
    let is_table = |path: &Path| path.extension().is_some_and(|extension| extension == "sst");
    files.filter(|file| is_table(&file.as_ref().expect("reads").path())).count()
}

#[test]
fn tables_stay_sorted_however_much_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let stores = RocksStores::open(directory.path(), RocksOptions::default()).expect("opens");
    let mut store = stores.open("task", &["counts".into()]).expect("opens");
    let mut most = 0;
    for number in 0..LOADS {
        store.load(load(number), 0).expect("loads");
        most = most.max(files(&directory.path().join("task")));
    }
    assert!(most <= FILES_MAX, "{most} files");
    let mut value = Vec::new();
    let is_there = |key: u64| store.get(0, &key.to_be_bytes(), &mut value).expect("reads");
    let all = (0..LOADS * ENTRIES).step_by(997);
    assert!(all.map(key).all(is_there));
}

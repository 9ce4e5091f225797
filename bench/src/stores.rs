//! The stores alone.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::ops::ControlFlow;

use state::MemoryStore;
use streams_core::{Store, StoreBatch, TableBatch};
use testkit::Dice;

use crate::workload::{Workload, WorkloadKind};

/// Entries that the store has.
const ENTRIES: usize = 50_000;
/// Entries that a round goes over.
const ROUND: usize = 1_000;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = ROUND as u64;
    let mut kinds = vec![
        WorkloadKind::counted("stores/memory_get", N, || get(memory())),
        WorkloadKind::counted("stores/memory_apply", N, || apply(memory())),
        WorkloadKind::counted("stores/memory_scan", N, || scan(memory())),
    ];
    if cfg!(feature = "rocksdb") {
        kinds.extend(rocks::kinds());
    }
    kinds
}

fn memory() -> Box<dyn Store> {
    Box::new(MemoryStore::new(1))
}

fn key(number: usize) -> Box<[u8]> {
    (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().into()
}

/// Sorted, as a task passes them. With the timestamp before the value they are as long as the
/// entries of a count.
fn batch(numbers: impl Iterator<Item = usize>, position: i64) -> StoreBatch {
    let keys: BTreeSet<_> = numbers.map(key).collect();
    let value = [position as u8; 16];
    let entries = keys.into_iter().map(|key| (key, Some(value))).collect();
    StoreBatch { tables: vec![TableBatch { table: 0, entries, position: Some(position) }], at: 0 }
}

fn fill(store: &mut dyn Store) {
    for begin in (0..ENTRIES).step_by(ROUND) {
        store.apply(&batch(begin..begin + ROUND, begin as i64)).expect("applies");
    }
}

fn get(mut store: Box<dyn Store>) -> Box<dyn Workload> {
    fill(&mut *store);
    let mut dice = Dice::new(3);
    let mut value = Vec::new();
    Box::new(move || {
        for _ in 0..ROUND {
            let key = key(dice.below(ENTRIES));
            assert!(store.get(0, &key, &mut value).expect("reads"), "it is there");
            black_box(&value);
        }
    })
}

struct Apply {
    store: Box<dyn Store>,
    dice: Dice,
    position: i64,
    batch: StoreBatch,
}

impl Workload for Apply {
    fn prepare(&mut self) {
        self.position += 1;
        let numbers = (0..ROUND).map(|_| self.dice.below(ENTRIES));
        self.batch = batch(numbers, self.position);
    }

    fn run(&mut self) {
        self.store.apply(&self.batch).expect("applies");
    }
}

fn apply(mut store: Box<dyn Store>) -> Box<dyn Workload> {
    fill(&mut *store);
    let position = ENTRIES as i64;
    Box::new(Apply { store, dice: Dice::new(4), position, batch: StoreBatch::default() })
}

fn scan(mut store: Box<dyn Store>) -> Box<dyn Workload> {
    fill(&mut *store);
    let mut dice = Dice::new(5);
    Box::new(move || {
        // Not so close to the end that there are fewer.
        let from = (dice.roll() >> 1).to_be_bytes();
        let mut left = ROUND;
        let visited = store.scan(0, &from, None, &mut |key, value| {
            black_box((key, value));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        visited.expect("scans");
        assert_eq!(left, 0, "a thousand entries were there");
    })
}

#[cfg(not(feature = "rocksdb"))]
mod rocks {
    use super::WorkloadKind;

    pub(super) fn kinds() -> Vec<WorkloadKind> {
        Vec::new()
    }
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use state::{RocksOptions, RocksStores};
    use streams_core::{Store, StoreProvider};
    use tempfile::TempDir;

    use super::{ROUND, Workload, WorkloadKind, apply, get, scan};

    pub(super) fn kinds() -> Vec<WorkloadKind> {
        let kind =
            |name, set_up| WorkloadKind { name, elements: ROUND as u64, is_counted: false, set_up };
        vec![
            kind("stores/rocksdb_get", || in_folder(get)),
            kind("stores/rocksdb_apply", || in_folder(apply)),
            kind("stores/rocksdb_scan", || in_folder(scan)),
        ]
    }

    /// A workload with its working folder, which is removed afterwards.
    struct InFolder {
        workload: Box<dyn Workload>,
        _folder: TempDir,
    }

    impl Workload for InFolder {
        fn prepare(&mut self) {
            self.workload.prepare();
        }

        fn run(&mut self) {
            self.workload.run();
        }
    }

    fn in_folder(set_up: fn(Box<dyn Store>) -> Box<dyn Workload>) -> Box<dyn Workload> {
        let folder = tempfile::tempdir().expect("a folder");
        let stores = RocksStores::open(folder.path(), RocksOptions::default()).expect("opens");
        let store = stores.open("bench", &["entries".into()]).expect("opens");
        Box::new(InFolder { workload: set_up(store), _folder: folder })
    }
}

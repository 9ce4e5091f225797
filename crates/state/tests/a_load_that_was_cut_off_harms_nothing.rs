//! A load writes a file, which the database takes over with a hard link. A crash before the first
//! name is removed leaves a table file with both names: the next load must not write into it.

use std::path::Path;

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{Store, StoreProvider, TableBatch};

const KEYS: u32 = 100_000;

fn open(directory: &Path) -> Box<dyn Store> {
    let stores = RocksStores::open(directory, RocksOptions::default()).expect("opens");
    stores.open("task", &["one".into(), "two".into()]).expect("opens")
}

fn load(store: &mut dyn Store, table: usize, position: i64) {
    let value = position.to_be_bytes();
    let entries = (0..KEYS).map(|key| (key.to_be_bytes(), Some(value))).collect();
    store.load(TableBatch { table, entries, position: Some(position) }, 0).expect("loads");
}

fn is_at(store: &dyn Store, table: usize, position: i64) -> bool {
    let mut value = Vec::new();
    let mut holds = |key: u32| {
        let found = store.get(table, &key.to_be_bytes(), &mut value).expect("reads");
        found && value == position.to_be_bytes()
    };
    store.position(table).expect("reads") == Some(position) && (0..KEYS).all(&mut holds)
}

#[test]
fn the_next_load_does_not_write_into_a_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("task");
    let mut store = open(directory.path());
    load(&mut *store, 0, 7);
    drop(store);

    let names = std::fs::read_dir(&folder).expect("reads").map(|file| file.expect("reads").path());
    let tables = names.filter(|name| name.extension().is_some_and(|extension| extension == "sst"));
    let tables: Vec<_> = tables.collect();
    let [table] = &tables[..] else { panic!("{tables:?}") };
    std::fs::hard_link(table, folder.join("loaded.part")).expect("links");

    let mut store = open(directory.path());
    load(&mut *store, 1, 8);
    drop(store);
    let store = open(directory.path());
    assert!(is_at(&*store, 0, 7) && is_at(&*store, 1, 8));
    assert!(!folder.join("loaded.part").exists(), "the file is the table's alone");
}

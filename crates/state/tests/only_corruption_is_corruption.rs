//! Damaged data is reported as corrupt, so that the runtime rebuilds it. A directory that cannot be
//! written is not corrupt, and nothing in it is wiped.

use std::fs;
use std::path::Path;

use headwater_state::{RocksOptions, RocksStores};
use streams_core::{Store, StoreBatch, StoreError, StoreProvider, TableBatch, TableName};

fn stores(directory: &Path) -> RocksStores {
    RocksStores::open(directory, RocksOptions::default()).expect("opens")
}

fn tables() -> [TableName; 1] {
    ["counts".into()]
}

fn fill(store: &mut dyn Store) {
    let entries = (0..10_000_u32).map(|key| (key.to_be_bytes(), Some([7_u8; 100]))).collect();
    let tables = vec![TableBatch { table: 0, entries, position: Some(1) }];
    store.apply(&StoreBatch { tables, at: 0 }).expect("applies");
    store.flush().expect("flushes");
}

/// All read operations, up to the first error.
fn read_all(stores: &RocksStores) -> Result<usize, StoreError> {
    let store = stores.open("task", &tables())?;
    let mut count = 0;
    store.scan(0, &[], None, &mut |_, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(count)
}

#[test]
fn flipped_bytes_are_corruption_and_the_store_can_be_rebuilt() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(&mut *stores(directory.path()).open("task", &tables()).expect("opens"));
    let files = fs::read_dir(directory.path().join("task")).expect("there").flatten();
    let table = files.map(|file| file.path()).find(|path| path.extension() == Some("sst".as_ref()));
    let table = table.expect("a table file");
    let mut bytes = fs::read(&table).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(&table, bytes).expect("writes");

    let stores = stores(directory.path());
    let error = read_all(&stores).expect_err("damaged");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("task"), "{error}");
    stores.destroy("task").expect("removed");
    assert_eq!(read_all(&stores).expect("new"), 0);
}

#[test]
fn an_unwritable_directory_is_not_corrupt_and_nothing_is_wiped() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(&mut *stores(directory.path()).open("task", &tables()).expect("opens"));
    let current = directory.path().join("task/CURRENT");
    let hidden = directory.path().join("task/CURRENT.hidden");
    fs::rename(&current, &hidden).expect("moved");
    fs::create_dir(&current).expect("in the way");
    let error = read_all(&stores(directory.path())).expect_err("cannot be read");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    fs::remove_dir(&current).expect("out of the way");
    fs::rename(&hidden, &current).expect("back");
    assert_eq!(read_all(&stores(directory.path())).expect("all there"), 10_000);
}

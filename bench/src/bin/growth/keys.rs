//! A count per key, with more and more keys: one task with its tables, without a log.

use std::sync::Arc;
use std::time::Duration;

use bench::{Driver, EncodedRecords, tables};
use state::MemoryStore;
use streams_core::Store;
use testkit::Dice;

use crate::cpu::{self, each};
use crate::table;

const KEYS: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// Records counted once all keys exist.
const RECORDS: u64 = 1_000_000;
/// Records per commit. At this size most records have different keys in all rows, so that the
/// overlay saves about the same work in each.
const COMMIT: u64 = 10_000;

pub(crate) fn print() {
    let columns = ["keys", "first record of a key, ns", "further record, ns"];
    table::head("Keys, tables in memory", &columns);
    KEYS.into_iter().for_each(|keys| measure(keys, Box::new(MemoryStore::new(1))));
    #[cfg(feature = "rocksdb")]
    rocks::print(&columns);
}

fn measure(keys: u64, store: Box<dyn Store>) {
    let mut task = Driver::with_store(tables::counts(), store);
    let fill = (0..keys).step_by(COMMIT as usize).map(|from| from..keys.min(from + COMMIT));
    let filling = work(&mut task, fill.map(tables::clicks_of));
    let mut dice = Dice::new(51);
    let random = (0..RECORDS / COMMIT).map(|_| {
        let keys = (0..COMMIT).map(|_| dice.roll() % keys);
        tables::clicks_of(keys)
    });
    let counting = work(&mut task, random);
    table::row(&[
        table::number(keys),
        table::nanos(each(filling, keys)),
        table::nanos(each(counting, RECORDS)),
    ]);
}

/// The CPU time of processing and committing each batch; making the batches does not count.
fn work(task: &mut Driver, batches: impl Iterator<Item = Arc<EncodedRecords>>) -> Duration {
    let begin = cpu::process();
    let mut making = Duration::ZERO;
    let mut since = cpu::thread();
    for records in batches {
        making += cpu::thread() - since;
        task.feed(0, &records, 0);
        task.run();
        task.commit();
        since = cpu::thread();
    }
    (cpu::process() - begin).saturating_sub(making)
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use state::{RocksOptions, RocksStores};
    use streams_core::StoreProvider;

    use super::{KEYS, measure};
    use crate::table;

    /// With the memory of the default configuration; RocksDB's threads count too.
    pub(super) fn print(columns: &[&str]) {
        table::head("Keys, tables in RocksDB", columns);
        for keys in KEYS {
            let folder = tempfile::tempdir().expect("a folder");
            let stores = RocksStores::open(folder.path(), RocksOptions::default()).expect("opens");
            measure(keys, stores.open("growth", &["counts".into()]).expect("opens"));
        }
    }
}

//! Both stores do what a map does: gets, ranges, batches, loads, clears, and, where they last,
//! reopenings.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use headwater_state::{MemoryStores, RocksOptions, RocksStores};
use proptest::prelude::*;
use streams_core::{Store, StoreBatch, StoreProvider, TableBatch, TableName};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// The same and much more, so that it is worth a file of its own.
    Load(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Clear,
    Flush,
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few different ones, the empty one and those of high bytes among them.
    prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 254, 255]), 0..3)
}

fn step() -> impl Strategy<Value = Step> {
    let value = || prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
    let changes = || prop::collection::vec((key(), value()), 0..8);
    prop_oneof![
        6 => changes().prop_map(Step::Apply),
        2 => changes().prop_map(Step::Load),
        1 => Just(Step::Clear),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

fn tables() -> [TableName; 2] {
    // The second as a table with a ttl is named.
    ["one".into(), "two/ttl".into()]
}

fn contents(store: &dyn Store, from: &[u8], to: Option<&[u8]>) -> Map {
    let mut found = Map::new();
    let mut last: Option<Vec<u8>> = None;
    let scanned = store.scan(1, from, to, &mut |key, value| {
        assert!(last.as_deref().is_none_or(|last| last < key), "in key order");
        last = Some(key.to_vec());
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    scanned.expect("scans");
    found
}

fn run(provider: &dyn StoreProvider, steps: Vec<Step>, bounds: (Vec<u8>, Vec<u8>)) {
    let mut store = provider.open("task", &tables()).expect("opens");
    let (mut model, mut position) = (Map::new(), None);
    for (number, step) in steps.into_iter().enumerate() {
        let is_load = matches!(step, Step::Load(_));
        match step {
            Step::Apply(changes) | Step::Load(changes) => {
                let mut net: BTreeMap<_, _> = changes.into_iter().collect();
                position = Some(number as i64);
                if is_load {
                    net.insert(vec![3], Some(vec![number as u8; 1 << 20]));
                    store.load(changed(&net, position), 0).expect("loads");
                } else {
                    let tables = vec![changed(&net, position)];
                    store.apply(&StoreBatch { tables, at: 0 }).expect("applies");
                }
                for (key, value) in net {
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
            }
            Step::Clear => {
                store.clear(1).expect("clears");
                (model, position) = (Map::new(), None);
            }
            Step::Flush => store.flush().expect("flushes"),
            Step::Reopen if provider.is_durable() => {
                store.flush().expect("flushes");
                drop(store);
                store = provider.open("task", &tables()).expect("opens");
            }
            Step::Reopen => {}
        }
        assert_eq!(contents(&*store, &[], None), model);
        assert_eq!(store.position(1).expect("reads"), position);
        assert_eq!(store.position(0).expect("reads"), None, "the other table is untouched");
    }
    let (from, to) = bounds;
    let within = model.iter().filter(|(key, _)| **key >= from && **key < to);
    let within: Map = within.map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(contents(&*store, &from, Some(&to)), within);
    for (key, value) in &model {
        let mut found = Vec::new();
        assert!(store.get(1, key, &mut found).expect("reads"));
        assert_eq!(found, *value);
    }
}

fn changed(net: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, position: Option<i64>) -> TableBatch {
    let entries = net.iter().map(|(key, value)| (key, value.as_ref()));
    TableBatch { table: 1, entries: entries.collect(), position }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(steps in prop::collection::vec(step(), 0..20), bounds in (key(), key())) {
        run(&MemoryStores::new(), steps, bounds);
    }

    #[test]
    fn in_rocksdb(steps in prop::collection::vec(step(), 0..20), bounds in (key(), key())) {
        let directory = tempfile::tempdir().expect("a directory");
        let stores = RocksStores::open(directory.path(), RocksOptions::default()).expect("opens");
        run(&stores, steps, bounds);
    }
}

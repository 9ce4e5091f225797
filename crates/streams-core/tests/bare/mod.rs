//! A task on its own, driven by hand as a worker drives it.

use std::sync::Arc;

use headwater_streams_core::{
    OwnedBatch, OwnedRecord, Resume, Store, StoreProvider, Task, TaskId, Topology,
};
use headwater_testkit::faults::SurvivingStores;

/// The first task of a topology with one sub-topology, from the beginning, with an empty store.
pub fn task(topology: Topology) -> Task {
    let tables = topology.sub_topologies()[0].tables();
    let names: Vec<_> = tables.iter().map(|table| Arc::clone(table.name())).collect();
    let store = SurvivingStores::new().open("0-0", &names).expect("opens");
    task_over(topology, store)
}

pub fn task_over(topology: Topology, store: Box<dyn Store>) -> Task {
    let id = TaskId { sub_topology: 0, partition: 0 };
    let inputs = topology.sub_topologies()[0].sources().len();
    let mut task = Task::new(Arc::new(topology), id, store);
    let resume = Resume { offset: 0, metadata: String::new(), committed: true };
    task.resume(&vec![resume; inputs], 0).expect("resumes");
    // There is no log that could have more than what is queued.
    (0..inputs).for_each(|input| task.observe(input, true, false));
    task
}

pub fn records(values: &[(&str, i64)]) -> Box<OwnedBatch> {
    let record = |(offset, (key, value)): (usize, &(&str, i64))| OwnedRecord {
        offset: offset as i64,
        key: Some(key.as_bytes().into()),
        value: Some(value.to_be_bytes().into()),
        ..OwnedRecord::default()
    };
    Box::new(OwnedBatch::from(values.iter().enumerate().map(record).collect::<Vec<_>>()))
}

//! Counts per key: decode, overlay, store, changelog.

use std::sync::Arc;

use streams_core::{Builder, Table, Topic, Topology};
use testkit::Dice;

use crate::driver::Driver;
use crate::feed::EncodedRecords;
use crate::workload::{Workload, WorkloadKind};

const RECORDS: usize = 4_000;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = RECORDS as u64;
    vec![
        // All records of a commit except a hundred find their key in the overlay.
        WorkloadKind::counted("tables/count_hot", N, || count(100, false)),
        // Nearly every record reads the store, and has its own changelog record.
        WorkloadKind::counted("tables/count_cold", N, || count(20_000, false)),
        // A source that skips bad records keeps what it would have to undo.
        WorkloadKind::counted("tables/count_hot_undoable", N, || count(100, true)),
    ]
}

fn clicks() -> Topic<u64, u64> {
    Topic::new("clicks")
}

/// A count per key, whose results are sent once per commit.
pub fn counts() -> Topology {
    topology(false)
}

fn topology(undoable: bool) -> Topology {
    use streams_core::ErrorPolicy;
    let app = Builder::new("tables");
    let policy = if undoable { ErrorPolicy::Skip } else { ErrorPolicy::Fail };
    let source = app.stream(clicks().consumed().on_error(policy));
    source.group_by_key().count(&Table::new("counts")).latest().to(&Topic::new("out"));
    app.build().expect("a topology")
}

/// A click for each key, whose bytes look like a hash.
pub fn clicks_of(keys: impl IntoIterator<Item = u64>) -> Arc<EncodedRecords> {
    let spread = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    EncodedRecords::of(&clicks(), keys.into_iter().map(|key| (spread(key), 1, 0)))
}

fn count(keys: usize, undoable: bool) -> Box<dyn Workload> {
    let mut task = Driver::new(topology(undoable));
    let mut dice = Dice::new(1);
    let mut clicks = || clicks_of((0..RECORDS).map(|_| dice.below(keys) as u64));
    let rounds: Vec<_> = (0..16).map(|_| clicks()).collect();
    let mut round = 0;
    // All keys are there already.
    task.feed(0, &clicks_of(0..keys as u64), 0);
    task.run();
    task.commit();
    Box::new(move || {
        task.feed(0, &rounds[round % rounds.len()], 0);
        task.run();
        assert!(task.commit() > 0, "changes are logged");
        round += 1;
    })
}

//! More and more records between two commits, where each record removes old entries.

use bench::{Workload, joins, windows};

use crate::cpu::{self, each};
use crate::table;

/// Records processed for each row.
const RECORDS: u64 = 400_000;

pub(crate) fn print() {
    let columns = ["records in a commit", "join of two streams, ns", "sessions, ns"];
    table::head("Records in a commit, tables in memory", &columns);
    for records in [1_000, 10_000, 100_000] {
        let join = record(joins::stream_stream(records), records);
        let sessions = record(windows::session_closed(records), records);
        table::row(&[table::number(records as u64), table::nanos(join), table::nanos(sessions)]);
    }
}

fn record(mut workload: Box<dyn Workload>, records: usize) -> f64 {
    let begin = cpu::process();
    for _ in 0..RECORDS / records as u64 {
        workload.run();
    }
    each(cpu::process() - begin, RECORDS)
}

//! The same records on more and more partitions, each with a task: one instance, one worker.

use crate::cpu::each;
use crate::run::{GrowthRun, RECORDS};
use crate::table;

pub(crate) fn print() {
    let columns = ["partitions", "record, ns", "start of a task, µs", "idle, CPU ms/s"];
    table::head("Partitions, one instance", &columns);
    for partitions in [1, 10, 100, 1_000] {
        let run = GrowthRun::measured(partitions, 1);
        table::row(&[
            table::number(partitions),
            table::nanos(each(run.processing, RECORDS)),
            table::nanos(each(run.starting, partitions) / 1e3),
            format!("{:.1}", run.idle_second.as_secs_f64() * 1e3),
        ]);
    }
}

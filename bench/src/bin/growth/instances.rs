//! The same records on the same partitions, distributed among more and more instances.

use crate::cpu::each;
use crate::run::{GrowthRun, RECORDS};
use crate::table;

const PARTITIONS: u64 = 8;

pub(crate) fn print() {
    let columns = ["instances", "record, ns", "idle, CPU ms/s"];
    table::head("Instances, eight partitions", &columns);
    for instances in [1, 2, 4, 8] {
        let run = GrowthRun::measured(PARTITIONS, instances);
        table::row(&[
            table::number(instances),
            table::nanos(each(run.processing, RECORDS)),
            format!("{:.1}", run.idle_second.as_secs_f64() * 1e3),
        ]);
    }
}

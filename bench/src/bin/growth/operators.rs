//! A chain of more and more stateless operators.

use bench::chain;

use crate::cpu::{self, each};
use crate::table;

const RECORDS: u64 = 10_000;
const ROUNDS: u64 = 200;

pub(crate) fn print() {
    table::head("Operators in a chain", &["operators", "record, ns", "record and operator, ns"]);
    for operators in [1, 10, 100] {
        let mut task = chain::task(operators);
        let records = chain::records(RECORDS);
        let mut rounds = |count| {
            for _ in 0..count {
                task.feed(0, &records, 0);
                task.run();
                task.commit();
            }
        };
        rounds(ROUNDS / 10);
        let begin = cpu::process();
        rounds(ROUNDS);
        let record = each(cpu::process() - begin, RECORDS * ROUNDS);
        let operator = record / operators as f64;
        table::row(&[operators.to_string(), table::nanos(record), format!("{operator:.1}")]);
    }
}

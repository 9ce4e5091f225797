//! Stateless operators, which the compiler sees as one.

use streams_core::chain::Chain;
use streams_core::{Builder, Stream, Topic};
use testkit::Dice;

use crate::driver::Driver;
use crate::feed::EncodedRecords;
use crate::workload::{Workload, WorkloadKind};

const RECORDS: u64 = 4_000;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    vec![
        WorkloadKind::counted("chain/1", RECORDS, || fused(1)),
        WorkloadKind::counted("chain/5", RECORDS, || fused(5)),
        WorkloadKind::counted("chain/20", RECORDS, || fused(20)),
    ]
}

// Functions, not closures, whose types would contain the chain before them.
fn mixed(n: i64) -> i64 {
    n.rotate_left(7) ^ 0x5bd1_e995
}

/// True except for one record of four thousand.
fn is_wanted(key: &i64, n: &i64) -> bool {
    (*key ^ *n) & 0xfff != 0xfff
}

type Numbers<'b, C> = Stream<'b, i64, i64, C>;

fn one<'b>(
    stream: Numbers<'b, impl Chain<Key = i64, Value = i64>>,
) -> Numbers<'b, impl Chain<Key = i64, Value = i64>> {
    stream.map_values(mixed)
}

fn filtered<'b>(
    stream: Numbers<'b, impl Chain<Key = i64, Value = i64>>,
) -> Numbers<'b, impl Chain<Key = i64, Value = i64>> {
    stream.filter(is_wanted)
}

fn five<'b>(
    stream: Numbers<'b, impl Chain<Key = i64, Value = i64>>,
) -> Numbers<'b, impl Chain<Key = i64, Value = i64>> {
    one(filtered(one(filtered(one(stream)))))
}

fn ten<'b>(
    stream: Numbers<'b, impl Chain<Key = i64, Value = i64>>,
) -> Numbers<'b, impl Chain<Key = i64, Value = i64>> {
    five(five(stream))
}

/// Ten operators at a time, each ten with a type of their own: a type a hundred levels deep exceeds
/// the compiler's default `recursion_limit`.
fn hundred<'b>(source: Numbers<'b, impl Chain<Key = i64, Value = i64>>) {
    let mut stream = ten(source).shared();
    for _ in 1..10 {
        stream = ten(stream).shared();
    }
    send(stream);
}

fn numbers() -> Topic<i64, i64> {
    Topic::new("numbers")
}

fn send<'b>(stream: Numbers<'b, impl Chain<Key = i64, Value = i64>>) {
    stream.to(&Topic::new("out"));
}

/// A task with this many operators between its source and its sink: 1, 5, 10, 20 or 100, the last
/// in ten parts.
///
/// # Panics
/// For any other number, because each length has its own type.
pub fn task(operators: usize) -> Driver {
    let app = Builder::new("chain");
    let source = app.stream(&numbers());
    match operators {
        1 => send(one(source)),
        5 => send(five(source)),
        10 => send(ten(source)),
        20 => send(ten(ten(source))),
        100 => hundred(source),
        other => panic!("no chain of {other} operators"),
    }
    Driver::new(app.build().expect("a topology"))
}

/// Records with keys and values that look random.
pub fn records(count: u64) -> std::sync::Arc<EncodedRecords> {
    let mut dice = Dice::new(7);
    let record = |_| (dice.roll() as i64, dice.roll() as i64, 0);
    EncodedRecords::of(&numbers(), (0..count).map(record))
}

fn fused(operators: usize) -> Box<dyn Workload> {
    let mut task = task(operators);
    let records = records(RECORDS);
    Box::new(move || {
        task.feed(0, &records, 0);
        assert!(task.run() > 0, "records come out");
        task.commit();
    })
}

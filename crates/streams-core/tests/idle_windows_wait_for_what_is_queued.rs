//! A window of idle input is not closed while a record that may belong to it waits to be processed,
//! however long the driver of the task stood still.

#![allow(unreachable_pub, dead_code, reason = "a module of a test program")]

mod bare;

use std::time::Duration;

use bare::task;
use headwater_streams_core::{
    Builder, Effects, OwnedBatch, OwnedRecord, Table, Task, Topic, Topology, Tumbling,
};

fn topology() -> Topology {
    let app = Builder::new("t");
    let windows = Tumbling::of(Duration::from_secs(1)).idle_after(Duration::from_secs(5));
    let sales = app.stream(&Topic::<String, i64>::new("sales"));
    let counted = sales.filter(|_, amount| *amount > 0).group_by_key().window(windows);
    let counts = counted.count(&Table::new("counts"));
    counts.closed().map(|window, n| (window.key, n as i64)).to(&Topic::<String, i64>::new("out"));
    app.build().expect("valid")
}

/// A record for the first window.
fn sale(offset: i64, amount: i64) -> Box<OwnedBatch> {
    let record = OwnedRecord {
        offset,
        timestamp: 1,
        key: Some(b"a".as_slice().into()),
        value: Some(amount.to_be_bytes().into()),
        ..OwnedRecord::default()
    };
    Box::new(OwnedBatch::from(vec![record]))
}

const NOTHING: [i64; 0] = [];

/// One turn of a worker. Returns the outputs.
fn turn(task: &mut Task, now: i64) -> Vec<i64> {
    let mut effects = Effects::new();
    // The log has nothing more than what is queued.
    task.observe(0, true, false);
    task.advance(now, &mut effects).expect("advances");
    task.step(now, 1, &mut effects).expect("processed");
    let values = effects.iter().map(|effect| effect.value.expect("a value").try_into());
    values.map(|bytes| i64::from_be_bytes(bytes.expect("a number"))).collect()
}

#[test]
fn records_that_came_while_the_worker_was_busy_are_in_their_window() {
    let mut task = task(topology());
    task.enqueue(0, sale(0, 1));
    assert_eq!(turn(&mut task, 0), NOTHING);
    // The worker has no turn for six seconds, and two records arrive.
    task.enqueue(0, sale(1, 1));
    task.enqueue(0, sale(2, 1));
    assert_eq!(turn(&mut task, 6_000), NOTHING);
    assert_eq!(turn(&mut task, 6_000), NOTHING);
    assert_eq!(task.metrics().dropped_late, 0);
    assert_eq!(turn(&mut task, 10_999), NOTHING);
    assert_eq!(turn(&mut task, 11_000), [3]);
    assert_eq!(turn(&mut task, 20_000), NOTHING);
}

#[test]
fn records_for_other_operators_do_not_keep_a_window_open() {
    let mut task = task(topology());
    task.enqueue(0, sale(0, 1));
    assert_eq!(turn(&mut task, 0), NOTHING);
    for offset in 1..50 {
        task.enqueue(0, sale(offset, -1));
        assert_eq!(turn(&mut task, offset * 100), NOTHING);
    }
    // While a record waits that may belong to the window, it is not closed.
    task.enqueue(0, sale(50, -1));
    task.enqueue(0, sale(51, -1));
    assert_eq!(turn(&mut task, 5_000), NOTHING);
    assert_eq!(turn(&mut task, 5_100), NOTHING);
    assert_eq!(turn(&mut task, 5_100), [1]);
}

#[test]
fn a_task_with_waiting_windows_wakes_soon_but_not_at_once() {
    let mut task = task(topology());
    task.enqueue(0, sale(0, 1));
    turn(&mut task, 0);
    turn(&mut task, 1);
    assert_eq!(task.next_wakeup(), Some(5_000));
    task.enqueue(0, sale(1, -1));
    task.advance(7_000, &mut Effects::new()).expect("advances");
    assert_eq!(task.next_wakeup(), Some(7_010));
}

#[test]
fn windows_wait_for_what_the_log_may_have() {
    let mut task = task(topology());
    task.enqueue(0, sale(0, 1));
    turn(&mut task, 0);
    let mut effects = Effects::new();
    task.observe(0, false, true);
    task.advance(6_000, &mut effects).expect("advances");
    assert_eq!(effects.iter().count(), 0, "there may be more for the window");
    task.enqueue(0, sale(1, 1));
    assert_eq!(turn(&mut task, 6_001), NOTHING);
    assert_eq!(turn(&mut task, 11_001), [2]);
}

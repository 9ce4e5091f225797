//! A task that has nothing to do says so, and its driver may sleep.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod bare;

use std::time::Duration;

use bare::{records, task};
use headwater_streams_core::agent::Records;
use headwater_streams_core::{Builder, Effects, Table, Task, Topic, Topology, Tumbling};

const MINUTE: i64 = 60_000;

fn sales() -> Topic<String, i64> {
    Topic::new("sales")
}

/// Lets an hour pass, always to the next wake-up of the task. Returns how many there were.
fn wakeups(task: &mut Task) -> u32 {
    let mut effects = Effects::new();
    let mut now = 0;
    let mut count = 0;
    task.observe(0, true, false);
    while let Some(at) = task.next_wakeup().filter(|at| *at <= 60 * MINUTE) {
        now = at.max(now);
        task.advance(now, &mut effects).expect("advances");
        effects.clear();
        count += 1;
        assert!(count < 1_000, "it wants to be woken at {at} again and again");
    }
    count
}

fn windows(closed: bool) -> Topology {
    let app = Builder::new("t");
    let windows = Tumbling::of(Duration::from_secs(60)).idle_after(Duration::from_secs(5));
    let counts = app.stream(&sales()).group_by_key().window(windows).count(&Table::new("counts"));
    let name = |window: headwater_streams_core::Windowed<String>, n| (window.key, n as i64);
    if closed {
        counts.closed().map(name).to(&Topic::<String, i64>::new("out"));
    } else {
        counts.updates().map(name).to(&Topic::<String, i64>::new("out"));
    }
    app.build().expect("valid")
}

#[test]
fn windows_of_idle_input_are_closed_or_deleted_and_nothing_else_happens() {
    for closed in [true, false] {
        let mut task = task(windows(closed));
        task.enqueue(0, records(&[("a", 1)]));
        task.step(0, 10, &mut Effects::new()).expect("processed");
        let count = wakeups(&mut task);
        assert!((1..10).contains(&count), "closed: {closed}, {count} times");
    }
}

#[test]
fn windows_of_idle_input_close_while_an_agent_awaits_something() {
    let app = Builder::new("t");
    let windows = Tumbling::of(Duration::from_secs(60)).idle_after(Duration::from_secs(5));
    let counts = app.stream(&sales()).group_by_key().window(windows).count(&Table::new("counts"));
    counts.closed().map(|window, n| (window.key, n as i64)).to(&Topic::<String, i64>::new("out"));
    app.agent("wait", &sales()).run(|mut sales: Records<String, i64>, _| async move {
        sales.next().await;
        std::future::pending().await
    });
    let mut task = task(app.build().expect("valid"));
    task.enqueue(0, records(&[("a", 1)]));
    task.step(0, 10, &mut Effects::new()).expect("processed");
    assert!(task.next_wakeup().is_some(), "it has windows to close");
    let mut effects = Effects::new();
    task.observe(0, true, false);
    for now in [1, 70_000, 140_000] {
        task.advance(now, &mut effects).expect("goes on");
        task.step(now, 10, &mut effects).expect("goes on");
    }
    assert_eq!(effects.len(), 1, "the window's result");
}

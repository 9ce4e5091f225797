//! A monotonic clock measures intervals. Setting the date forward or back, while the program runs
//! or between two runs, costs at most one interval.

use std::time::Duration;

use headwater_streams_core::agent::Records;
use headwater_streams_core::{Builder, Record, Table, Topic, Topology, Tumbling};
use headwater_testkit::TopologyTest;

const NOON: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const SECOND: Duration = Duration::from_secs(1);

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

fn at_noon(topology: Topology) -> TopologyTest {
    let mut test = TopologyTest::new(topology);
    test.set_date(NOON).expect("runs");
    test.crash().expect("starts at noon");
    test.take_raw("out");
    test
}

/// Counts the outputs in that many tenths of a second.
fn count(test: &mut TopologyTest, tenths: u32) -> usize {
    (0..tenths).for_each(|_| test.advance(SECOND / 10).expect("runs"));
    test.take(&output()).expect("decodes").len()
}

fn ticks() -> Topology {
    let app = Builder::new("ticks");
    app.stream(&input())
        .process::<String, i64>("ticker")
        .on_wall_clock(SECOND, |now, context| {
            context.forward(Record::new("tick".to_owned(), now, now))
        })
        .each(|_, _| Ok(()))
        .to(&output());
    app.build().expect("valid")
}

#[test]
fn punctuation_continues_while_the_program_runs() {
    let mut test = at_noon(ticks());
    assert_eq!(count(&mut test, 35), 3);
    for date in [NOON - HOUR, NOON + 7 * HOUR, 0] {
        test.set_date(date).expect("runs");
        assert_eq!(count(&mut test, 30), 3, "the date is {date}");
    }
}

#[test]
fn punctuation_continues_after_a_restart() {
    let mut test = at_noon(ticks());
    assert_eq!(count(&mut test, 35), 3);
    for date in [NOON - HOUR, NOON + 7 * HOUR, NOON] {
        test.set_date(date).expect("runs");
        test.crash().expect("restores");
        let times = count(&mut test, 30);
        assert!((2..=4).contains(&times), "{times} times after the date {date}");
        assert_eq!(count(&mut test, 30), 3);
    }
}

#[test]
fn a_punctuation_gets_the_date() {
    let mut test = at_noon(ticks());
    test.set_date(NOON - HOUR).expect("runs");
    test.advance(SECOND).expect("runs");
    let ticked = test.take(&output()).expect("decodes");
    assert_eq!(ticked, [("tick".to_owned(), NOON - HOUR + 1_000)]);
}

/// Minutes that close when they are over and five seconds after the last record.
fn minutes() -> Topology {
    let app = Builder::new("minutes");
    let windows = Tumbling::of(60 * SECOND).idle_after(5 * SECOND);
    let counts = app.stream(&input()).group_by_key().window(windows).count(&Table::new("counts"));
    counts.closed().map(|window, n| (window.key, n as i64)).to(&output());
    app.build().expect("valid")
}

#[test]
fn windows_of_idle_input_close_when_they_are_over_and_not_by_the_date() {
    for date in [NOON - HOUR, NOON + HOUR] {
        let mut test = at_noon(minutes());
        // The window of this record ends in 20 s.
        let timestamp = NOON - NOON % 60_000 + 40_000;
        test.send_record(&input(), Record::new("a".into(), 1, timestamp)).expect("processed");
        test.set_date(date).expect("runs");
        assert_eq!(count(&mut test, 190), 0, "the date is {date}");
        test.send_record(&input(), Record::new("a".into(), 1, timestamp)).expect("processed");
        assert_eq!(count(&mut test, 190), 0, "a record has come");
        assert_eq!(count(&mut test, 20), 1, "the date is {date}");
    }
}

fn batches() -> Topology {
    let app = Builder::new("batches");
    let from = input();
    let to = output();
    app.agent("adds", &from).sends(&to).run(move |mut numbers: Records<String, i64>, cx| {
        let to = output();
        async move {
            loop {
                let batch = numbers.take(100, 2 * SECOND).await;
                let sum = batch.iter().map(|record| record.value).sum();
                cx.send(&to, "sum".to_owned(), sum)?;
            }
        }
    });
    app.build().expect("valid")
}

#[test]
fn a_batch_waits_for_its_given_time() {
    let mut test = at_noon(batches());
    for date in [NOON - HOUR, NOON + HOUR] {
        test.send_record(&input(), Record::new("a".into(), 1, NOON)).expect("taken");
        test.set_date(date).expect("runs");
        assert_eq!(count(&mut test, 19), 0, "the date is {date}");
        assert_eq!(count(&mut test, 2), 1, "the date is {date}");
    }
}

//! A window is sent once, when it is complete, whatever arrives late and whatever crashes.

use std::time::Duration;

use headwater_streams_core::{
    Builder, Record, Session, Table, Topic, Topology, Tumbling, Windowed,
};
use headwater_testkit::TopologyTest;

type Key = String;

fn sales() -> Topic<Key, i64> {
    Topic::new("sales")
}

fn totals() -> Topic<Key, i64> {
    Topic::new("totals")
}

fn topology(windows: Tumbling, re_keyed: bool) -> Topology {
    let app = Builder::new("shop");
    let stream = app.stream(&sales());
    let table = Table::new("sales-by-minute");
    let add = |sum: &mut i64, _: &Key, amount: i64| *sum += amount;
    let name = |window: Windowed<Key>, sum| (format!("{}@{}", window.key, window.start), sum);
    if re_keyed {
        let grouped = stream.group_by("by-key", |key: &Key, _| key.clone());
        grouped.window(windows).aggregate(&table, || 0, add).closed().map(name).to(&totals());
    } else {
        let grouped = stream.group_by_key();
        grouped.window(windows).aggregate(&table, || 0, add).closed().map(name).to(&totals());
    }
    app.build().expect("a valid topology")
}

fn minute_grace_10() -> Tumbling {
    Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10))
}

fn send(test: &mut TopologyTest, key: &str, amount: i64, seconds: i64) {
    let record = Record::new(key.to_owned(), amount, seconds * 1000);
    test.send_record(&sales(), record).expect("processed");
}

fn taken(test: &mut TopologyTest) -> Vec<(String, i64)> {
    test.take(&totals()).expect("decodes")
}

#[test]
fn the_first_record_at_end_plus_grace_closes_it_once() {
    let mut test = TopologyTest::new(topology(minute_grace_10(), false));
    send(&mut test, "a", 1, 5);
    send(&mut test, "b", 2, 59);
    send(&mut test, "a", 4, 69);
    assert_eq!(taken(&mut test), []);
    send(&mut test, "a", 8, 58); // within grace
    send(&mut test, "c", 16, 70);
    assert_eq!(taken(&mut test), [("a@0".to_owned(), 9), ("b@0".to_owned(), 2)]);
    send(&mut test, "a", 32, 59); // late: dropped, counted, no second result
    send(&mut test, "a", 64, 130);
    assert_eq!(taken(&mut test), [("a@60000".to_owned(), 4), ("c@60000".to_owned(), 16)]);
    assert_eq!(test.metrics().dropped_late, 1);
}

#[test]
fn after_a_repartition_topic_the_records_that_reach_it_close_it() {
    let mut test = TopologyTest::new(topology(minute_grace_10(), true));
    send(&mut test, "a", 1, 5);
    send(&mut test, "a", 2, 70);
    send(&mut test, "a", 4, 6);
    send(&mut test, "a", 8, 200);
    let expected = [("a@0".to_owned(), 1), ("a@60000".to_owned(), 2)];
    assert_eq!(taken(&mut test), expected);
}

#[test]
fn it_closes_once_whenever_the_task_crashes() {
    let mut test = TopologyTest::new(topology(minute_grace_10(), false));
    send(&mut test, "a", 1, 5);
    test.crash().expect("restores");
    send(&mut test, "a", 2, 70);
    test.crash().expect("restores");
    // Stream time was restored with the offsets: this record is late although the new task never
    // saw second 70.
    send(&mut test, "a", 4, 6);
    assert_eq!(test.metrics().dropped_late, 1);
    send(&mut test, "a", 8, 200);
    let expected = [("a@0".to_owned(), 1), ("a@60000".to_owned(), 2)];
    assert_eq!(taken(&mut test), expected);
}

#[test]
fn with_idle_after_it_closes_without_further_input() {
    let windows = minute_grace_10().idle_after(Duration::from_secs(5));
    let mut test = TopologyTest::new(topology(windows, false));
    send(&mut test, "a", 1, 30);
    test.advance(Duration::from_secs(39)).expect("runs");
    assert_eq!(taken(&mut test), []);
    test.advance(Duration::from_secs(1)).expect("runs");
    assert_eq!(taken(&mut test), [("a@0".to_owned(), 1)]);
    test.crash().expect("restores");
    send(&mut test, "a", 2, 31); // the idle advance was committed: late also after a restart
    test.advance(Duration::from_secs(600)).expect("runs");
    assert_eq!(taken(&mut test), []);
    assert_eq!(test.metrics().dropped_late, 1);
}

#[test]
fn idle_input_without_idle_after_waits_for_a_record() {
    let mut test = TopologyTest::new(topology(minute_grace_10(), false));
    send(&mut test, "a", 1, 30);
    test.advance(Duration::from_secs(100_000)).expect("runs");
    assert_eq!(taken(&mut test), []);
}

#[test]
fn a_cogrouped_window_closes_when_all_streams_have_passed_it() {
    let ins = Topic::<Key, i64>::new("ins");
    let outs = Topic::<Key, i64>::new("outs");
    let app = Builder::new("t");
    let both = app.stream(&ins).group_by_key().cogroup(|sum: &mut i64, _, n| *sum += n);
    let both = both.with(app.stream(&outs).group_by_key(), |sum, _, n| *sum -= n);
    let windows = both.window(Tumbling::of(Duration::from_secs(60)));
    let sums = windows.aggregate(&Table::new("sums"), || 0).closed();
    sums.map(|window, sum| (window.key, sum)).to(&totals());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let mut send = |topic: &Topic<Key, i64>, amount, seconds: i64, expected: &[i64]| {
        let record = Record::new("tea".to_owned(), amount, seconds * 1_000);
        test.send_record(topic, record).expect("processed");
        let sums: Vec<_> = taken(&mut test).into_iter().map(|(_, sum)| sum).collect();
        assert_eq!(sums, expected, "after {amount} at {seconds} s");
        test.crash().expect("restores");
    };
    send(&ins, 10, 1, &[]);
    send(&outs, 1, 2, &[]);
    send(&ins, 100, 61, &[]);
    send(&outs, 3, 50, &[]);
    send(&outs, 30, 70, &[6]);
    send(&outs, 300, 130, &[]);
    send(&ins, 1_000, 200, &[70]);
}

#[test]
fn a_cogrouped_window_closes_although_another_stream_begins_late() {
    let ins = Topic::<Key, i64>::new("ins");
    let outs = Topic::<Key, i64>::new("outs");
    let app = Builder::new("t");
    let both = app.stream(&ins).group_by_key().cogroup(|sum: &mut i64, _, n| *sum += n);
    let both = both.with(app.stream(&outs).group_by_key(), |sum, _, n| *sum -= n);
    let windows =
        both.window(Session::of(Duration::from_secs(2)).retention(Duration::from_secs(9)));
    let sums = windows.aggregate_merging(&Table::new("sums"), || 0, |_, a, b| a + b).closed();
    sums.map(|window, sum| (window.key, sum)).to(&totals());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let mut send = |topic: &Topic<Key, i64>, amount, seconds: i64, expected: &[i64]| {
        let record = Record::new("tea".to_owned(), amount, seconds * 1_000);
        test.send_record(topic, record).expect("processed");
        let sums: Vec<_> = taken(&mut test).into_iter().map(|(_, sum)| sum).collect();
        assert_eq!(sums, expected, "after {amount} at {seconds} s");
        test.crash().expect("restores");
    };
    send(&ins, 10, 0, &[]);
    send(&ins, 100, 3, &[10]);
    // It would join the closed session, which is still stored.
    send(&outs, 1, 2, &[]);
    send(&outs, 2, 20, &[]);
    send(&ins, 200, 20, &[99]);
}

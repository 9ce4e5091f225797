//! A result that a later record releases is not that record's. It has the headers and timestamp of
//! its own record, or no headers if they are not stored.

use headwater_streams_core::agent::{Context, Records};
use headwater_streams_core::{
    Builder, Headers, JoinBuffers, JoinWindows, OwnedRecord, ProcessContext, Record, Suppress,
    Table, Topic, Topology, Tumbling,
};
use headwater_testkit::TopologyTest;
use std::time::Duration;

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A record whose header identifies it.
fn send(test: &mut TopologyTest, topic: &str, key: &str, at_s: i64) {
    let mut headers = Headers::new();
    headers.push("trace", Some(format!("{key}{at_s}").as_bytes()));
    headers.push("nothing", None);
    let key = key.as_bytes();
    let value = at_s.to_be_bytes();
    test.queue_raw(
        topic,
        0,
        OwnedRecord {
            offset: 0,
            timestamp: at_s * 1000,
            key: Some(key.into()),
            value: Some(value.into()),
            headers,
        },
    );
    test.run().expect("processed");
}

/// For each result: key, timestamp in seconds, the header.
fn results(test: &mut TopologyTest) -> Vec<(String, i64, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
    let result = |record: OwnedRecord| {
        let trace = record.headers.last("trace").flatten();
        assert_eq!(trace.is_some(), record.headers.last("nothing") == Some(None));
        (text(record.key.as_deref()), record.timestamp / 1000, text(trace))
    };
    test.take_raw("out").into_iter().map(result).collect()
}

fn own(key: &str, at_s: i64) -> (String, i64, String) {
    (key.to_owned(), at_s, format!("{key}{at_s}"))
}

fn none(key: &str, at_s: i64) -> (String, i64, String) {
    (key.to_owned(), at_s, "-".to_owned())
}

fn run(topology: Topology, records: &[(&str, i64)]) -> Vec<(String, i64, String)> {
    let mut test = TopologyTest::new(topology);
    for (key, at_s) in records {
        send(&mut test, "in", key, *at_s);
        // What is held is restored from the changelog.
        test.crash().expect("restores");
    }
    results(&mut test)
}

fn suppressed(suppress: Suppress) -> Topology {
    let app = Builder::new("t");
    let table = app.table(&input(), &Table::new("latest"));
    let held = table.suppress(suppress, "held").to_stream();
    held.flat_map_values(|value| value).to(&output());
    app.build().expect("valid")
}

#[test]
fn a_change_held_for_a_time_has_the_headers_of_its_own_record() {
    let limit = Suppress::until_time_limit(seconds(10));
    let found = run(suppressed(limit), &[("a", 1), ("b", 2), ("a", 3), ("c", 30)]);
    // The latest change of the key waits, with its headers.
    assert_eq!(found, [own("a", 3), own("b", 2)]);
}

#[test]
fn a_change_released_by_a_full_buffer_has_the_headers_of_its_own_record() {
    let limit = Suppress::until_time_limit(seconds(1_000)).max_records(1);
    let found = run(suppressed(limit), &[("a", 1), ("b", 2), ("c", 3)]);
    assert_eq!(found, [own("a", 1), own("b", 2)]);
}

#[test]
fn a_join_with_a_suppressed_table_does_not_see_the_time_of_a_waiting_change() {
    let app = Builder::new("t");
    let table = app.table(&input(), &Table::new("latest"));
    let held = table.suppress(Suppress::until_time_limit(seconds(10)), "held");
    let other = app.table(&Topic::<String, i64>::new("other"), &Table::new("others"));
    let joined = held.join(&other, |_, left, right| left + right).to_stream();
    joined.flat_map_values(|value| value).to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (key, at_s) in [("a", 1), ("c", 20), ("a", 30)] {
        send(&mut test, "in", key, at_s);
    }
    // The change that has waited since 30 s is not visible yet, nor is its time.
    send(&mut test, "other", "a", 25);
    assert_eq!(results(&mut test), [own("a", 25)]);
}

fn windowed(closes: impl FnOnce(&Builder)) -> Topology {
    let app = Builder::new("t");
    closes(&app);
    app.build().expect("valid")
}

#[test]
fn the_final_result_of_a_window_has_the_headers_of_the_record_that_made_it() {
    let topology = windowed(|app| {
        let windows = app.stream(&input()).group_by_key().window(Tumbling::of(seconds(10)));
        let table = windows.reduce(&Table::new("sum"), |a, b| a + b).into_table();
        let last = table.suppress(Suppress::until_window_closes(), "last").to_stream();
        let sums = last.flat_map_values(|value| value).select_key(|window, _| window.key.clone());
        sums.to(&output());
    });
    let found = run(topology, &[("a", 1), ("a", 4), ("b", 2), ("c", 15), ("d", 27)]);
    assert_eq!(found, [own("a", 4), own("b", 2), own("c", 15)]);
}

#[test]
fn a_window_that_a_later_record_closes_has_none_of_its_headers() {
    let topology = windowed(|app| {
        let windows = app.stream(&input()).group_by_key().window(Tumbling::of(seconds(10)));
        let closed = windows.reduce(&Table::new("sum"), |a, b| a + b).closed();
        closed.select_key(|window, _| window.key.clone()).to(&output());
    });
    let found = run(topology, &[("a", 1), ("a", 4), ("b", 2), ("c", 15)]);
    assert_eq!(found, [none("a", 4), none("b", 2)]);
}

#[test]
fn an_unmatched_result_has_no_headers_and_the_next_result_has_its_own() {
    let topology = windowed(|app| {
        let left = app.stream(&input());
        let right = app.stream(&Topic::new("right"));
        let windows = JoinWindows::within(seconds(1));
        let joined = |_: &String, left: &i64, right: Option<&i64>| left + right.unwrap_or(&0);
        left.left_join(right, windows, &JoinBuffers::json("pairs"), joined).to(&output());
    });
    let mut test = TopologyTest::new(topology);
    send(&mut test, "in", "a", 1);
    send(&mut test, "right", "b", 10);
    send(&mut test, "in", "b", 10);
    assert_eq!(results(&mut test), [none("a", 1), own("b", 10)]);
}

/// A record does a portion of its due work; the rest comes before the next record.
fn run_in_portions(topology: Topology, records: &[(&str, i64)]) -> Vec<(String, i64, String)> {
    let mut test = TopologyTest::new(topology);
    test.portions(1);
    for (key, at_s) in records {
        send(&mut test, "in", key, *at_s);
    }
    results(&mut test)
}

#[test]
fn a_result_of_a_later_portion_is_of_its_own_record_too() {
    let records = [("a", 1), ("b", 2), ("c", 3), ("b", 100)];
    let closed = windowed(|app| {
        let windows = app.stream(&input()).group_by_key().window(Tumbling::of(seconds(10)));
        let closed = windows.reduce(&Table::new("sum"), |a, b| a + b).closed();
        closed.select_key(|window, _| window.key.clone()).to(&output());
    });
    assert_eq!(run_in_portions(closed, &records), [none("a", 1), none("b", 2), none("c", 3)]);

    let alone = windowed(|app| {
        let left = app.stream(&input());
        let right = app.stream(&Topic::new("right"));
        let windows = JoinWindows::within(seconds(10));
        let joined = |_: &String, left: &i64, right: Option<&i64>| left + right.unwrap_or(&0);
        left.left_join(right, windows, &JoinBuffers::json("pairs"), joined).to(&output());
    });
    // Unmatched records with the key of the current record are sent by that record.
    assert_eq!(run_in_portions(alone, &records), [none("a", 1), none("b", 2), none("c", 3)]);

    let limit = Suppress::until_time_limit(seconds(10));
    let records = [("a", 1), ("b", 2), ("c", 3), ("d", 100)];
    let held = run_in_portions(suppressed(limit), &records);
    assert_eq!(held, [own("a", 1), own("b", 2), own("c", 3)]);
}

#[test]
fn a_stream_time_punctuation_has_no_headers_and_the_record_keeps_its_own() {
    let topology = windowed(|app| {
        let process = app.stream(&input()).process::<String, i64>("tick");
        let tick = |at, cx: &mut ProcessContext<'_, String, i64>| {
            cx.headers_mut().push("trace", Some(b"the punctuation's"));
            cx.headers_mut().clear();
            cx.forward(Record::new("tick".to_owned(), 0, at))
        };
        let ticking = process.on_stream_time(seconds(10), tick);
        ticking.each(|record, cx| cx.forward(record)).to(&output());
    });
    let found = run(topology, &[("a", 1), ("b", 12)]);
    assert_eq!(found, [own("a", 1), none("tick", 1), own("b", 12), none("tick", 12)]);
}

#[test]
fn a_batch_that_is_due_has_the_time_of_its_own_last_record() {
    let app = Builder::new("t");
    let agent = app.agent("batches", &input()).sends(&output());
    agent.run(|mut records: Records<String, i64>, cx: Context| async move {
        loop {
            for record in records.take(100, seconds(5)).await {
                cx.send(&output(), record.key, record.value)?;
            }
        }
    });
    // In the same task: its records are processed while the batch waits.
    let other = app.stream(&Topic::<String, i64>::new("other"));
    other.merge(app.stream(&input())).filter(|_, _| false).to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    send(&mut test, "in", "a", 1);
    send(&mut test, "other", "z", 99);
    test.advance(seconds(6)).expect("the batch is handed over");
    assert_eq!(results(&mut test), [own("a", 1)]);
}

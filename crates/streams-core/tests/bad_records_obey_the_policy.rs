//! A record that cannot be processed stops the task with its topic, partition and offset, is
//! skipped and counted, or goes to the dead-letter topic. It leaves nothing else.

use headwater_streams_core::{Builder, ErrorPolicy, OwnedRecord, Record, Table, Topic, Topology};
use headwater_testkit::TopologyTest;
use std::time::Duration;

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

/// Counts before it fails, so that a half-processed record would show.
fn topology(policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    app.on_error(policy);
    let stream = app.stream(&input()).shared();
    stream
        .clone()
        .group_by_key()
        .count(&Table::new("counts"))
        .updates()
        .map_values(|n| n as i64)
        .to(&output());
    stream
        .try_filter(|_, value| match value {
            -1 => Err("minus one is no amount"),
            -2 => panic!("no minus two"),
            _ => Ok(true),
        })
        .to(&output());
    app.build().expect("valid")
}

fn send(test: &mut TopologyTest, value: i64) -> Result<(), String> {
    test.send(&input(), "k".to_owned(), value).map_err(|error| error.to_string())
}

fn raw(key: Option<&[u8]>, value: Option<&[u8]>, timestamp: i64) -> OwnedRecord {
    let key = key.map(Into::into);
    let value = value.map(Into::into);
    OwnedRecord { key, value, timestamp, ..OwnedRecord::default() }
}

#[test]
fn fail_names_topic_partition_offset_and_cause() {
    for (value, cause) in [(-1, "minus one is no amount"), (-2, "no minus two")] {
        let mut test = TopologyTest::new(topology(ErrorPolicy::Fail));
        send(&mut test, 5).expect("processed");
        let error = send(&mut test, value).expect_err("fails");
        assert!(error.contains("record at in-0 offset 1"), "{error}");
        assert!(error.contains(cause), "{error}");
    }
}

#[test]
fn skip_undoes_what_the_record_did_and_counts_it() {
    let mut test = TopologyTest::new(topology(ErrorPolicy::Skip));
    for value in [5, -1, -2, 6] {
        send(&mut test, value).expect("processed");
    }
    let values: Vec<_> = test.take(&output()).expect("decodes").into_iter().map(|r| r.1).collect();
    assert_eq!(values, [1, 5, 2, 6]);
    assert_eq!(test.metrics().skipped, 2);
    assert!(test.failed()[0].contains("record at in-0 offset 1"), "{:?}", test.failed());
}

#[test]
fn dead_letters_keep_their_bytes_and_say_where_they_came_from() {
    let mut test = TopologyTest::new(topology(ErrorPolicy::dead_letter("dead")));
    send(&mut test, 5).expect("processed");
    test.send_raw("in", raw(Some(b"k"), Some(b"short"), 9)).expect("processed");
    send(&mut test, 6).expect("processed");
    let dead = test.take_raw("dead");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some(&b"short"[..]));
    let header = |name| {
        String::from_utf8_lossy(dead[0].headers.last(name).flatten().unwrap_or(b"")).into_owned()
    };
    assert_eq!(header("__streams.errors.topic"), "in");
    assert_eq!(header("__streams.errors.partition"), "0");
    assert_eq!(header("__streams.errors.offset"), "1");
    assert!(header("__streams.errors.message").contains("5 bytes, where i64 has 8"));
    assert_eq!(test.take(&output()).expect("decodes").len(), 4);
    assert_eq!(test.metrics().dead_lettered, 1);
}

#[test]
fn null_keys_tombstones_and_odd_timestamps_are_errors_with_a_cause() {
    let one = 1_i64.to_be_bytes();
    let cases = [
        (raw(None, Some(&one), 1), "the key cannot be decoded: null"),
        (raw(Some(b"k"), None, 1), "the value cannot be decoded: null"),
        (raw(Some(b"k"), Some(b""), 1), "0 bytes, where i64 has 8"),
        (raw(Some(&[0xff]), Some(&one), 1), "the key cannot be decoded"),
        (raw(Some(b"k"), Some(&one), -1), "the timestamp -1 is negative"),
        (raw(Some(b"k"), Some(&one), i64::MAX), "ahead of the clock"),
    ];
    for (record, cause) in cases {
        let mut test = TopologyTest::new(topology(ErrorPolicy::Fail));
        let error = test.send_raw("in", record).expect_err(cause).to_string();
        assert!(error.contains("record at in-0 offset 0") && error.contains(cause), "{error}");
    }
}

#[test]
fn a_source_can_limit_how_far_ahead_timestamps_may_be() {
    let app = Builder::new("t");
    let consumed = input().consumed().max_ahead(Duration::from_secs(1)).on_error(ErrorPolicy::Skip);
    app.stream(consumed).to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for timestamp in [1_000, 1_001] {
        let record = Record::new("k".to_owned(), timestamp, timestamp);
        test.send_record(&input(), record).expect("processed");
    }
    assert_eq!(test.take(&output()).expect("decodes"), [("k".to_owned(), 1_000)]);
    assert!(test.failed()[0].contains("1001 ms ahead of the clock, more than the 1000 ms"));
}

#[test]
fn option_accepts_null_keys_and_tombstones() {
    let app = Builder::new("t");
    let nullable = Topic::<Option<String>, Option<i64>>::new("in");
    let out = Topic::<Option<String>, Option<i64>>::new("out");
    app.stream(&nullable).to(&out);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.send_raw("in", raw(None, None, 1)).expect("processed");
    assert_eq!(test.take(&out).expect("decodes"), [(None, None)]);
}

#[test]
fn a_null_group_key_is_an_error_of_its_record() {
    let app = Builder::new("t");
    let grouped = app.stream(&input()).group_by("by-none", |_, _| None::<String>);
    grouped.count(&Table::new("counts")).to(&Topic::new("out"));
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let error = send(&mut test, 1).expect_err("no key");
    assert!(error.contains("record at in-0 offset 0: the key is null"), "{error}");
    assert!(error.contains("t-by-none-repartition needs one"), "{error}");
}

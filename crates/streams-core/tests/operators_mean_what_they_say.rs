//! Each operator does what its name says and preserves timestamps, order and headers.

use headwater_streams_core::codec::{Bytes, Text};
use headwater_streams_core::{Builder, Headers, OwnedRecord, Record, Table, Topic, Topology};
use headwater_testkit::TopologyTest;
use std::sync::{Arc, Mutex};

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

fn run(topology: Topology, records: &[(&str, i64)]) -> Vec<(String, i64)> {
    let mut test = TopologyTest::new(topology);
    for (key, value) in records {
        test.send(&input(), (*key).to_owned(), *value).expect("processed");
    }
    test.take(&output()).expect("decodes")
}

fn pairs(records: &[(&str, i64)]) -> Vec<(String, i64)> {
    records.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

#[test]
fn filter_filter_not_map_and_flat_map() {
    let app = Builder::new("t");
    app.stream(&input())
        .filter(|_, value| *value > 1)
        .filter_not(|key, _| key == "no")
        .map(|key, value| (format!("{key}{value}"), value * 10))
        .flat_map(|key, value| [(key.clone(), value), (key, value + 1)])
        .flat_map_values(|value| (value % 2 == 0).then_some(value))
        .to(&output());
    let out = run(app.build().expect("valid"), &[("a", 1), ("a", 2), ("no", 3), ("b", 4)]);
    assert_eq!(out, pairs(&[("a2", 20), ("b4", 40)]));
}

#[test]
fn branch_sends_each_record_one_way_and_merge_rejoins_them() {
    let app = Builder::new("t");
    let (large, small) = app.stream(&input()).branch(|_, value| *value >= 10);
    let (_medium, tiny) = small.branch(|_, value| *value >= 5);
    large.map_values(|value| value * 2).merge(tiny.map_values(|value| -value)).to(&output());
    let out = run(app.build().expect("valid"), &[("a", 10), ("b", 7), ("c", 1)]);
    assert_eq!(out, pairs(&[("a", 20), ("c", -1)]));
}

#[test]
fn a_shared_stream_gives_every_record_to_every_user() {
    let app = Builder::new("t");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = app.stream(&input()).map_values(|value| value + 1).shared();
    let log = Arc::clone(&seen);
    shared.clone().peek(move |_, value| log.lock().expect("lock").push(*value)).to(&output());
    shared.filter(|_, value| *value > 2).to(&output());
    let out = run(app.build().expect("valid"), &[("a", 1), ("b", 2)]);
    assert_eq!(out, pairs(&[("a", 2), ("b", 3), ("b", 3)]));
    assert_eq!(*seen.lock().expect("lock"), [2, 3]);
}

#[test]
fn to_by_chooses_the_topic_and_keeps_the_bytes() {
    let app = Builder::new("t");
    let choose = |_: &String, value: &i64| if *value > 5 { "big".into() } else { "out".into() };
    app.stream(&input()).to_by(&output(), choose);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [9, 1] {
        test.send(&input(), "k".to_owned(), value).expect("processed");
    }
    assert_eq!(test.take(&output()).expect("decodes"), pairs(&[("k", 1)]));
    assert_eq!(test.take(&Topic::<String, i64>::new("big")).expect("decodes"), pairs(&[("k", 9)]));
}

#[test]
fn timestamps_and_headers_are_preserved() {
    let app = Builder::new("t");
    app.stream(&input()).map_values(|value| value + 1).to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let mut headers = Headers::new();
    headers.push("trace", Some(b"1"));
    headers.push("trace", None);
    let value = Some(Box::from(1_i64.to_be_bytes()));
    let record =
        OwnedRecord { offset: 0, timestamp: 77, key: Some(b"k".as_slice().into()), value, headers };
    test.send_raw("in", record.clone()).expect("processed");
    let out = test.take_raw("out");
    assert_eq!((out[0].timestamp, &out[0].headers), (77, &record.headers));
}

#[test]
fn count_reduce_and_aggregate_send_every_change_and_survive_a_crash() {
    let app = Builder::new("t");
    let counts = Topic::<String, u64>::with("counts", Bytes, Text);
    let table = Table::new("largest");
    let stream = app.stream(&input()).shared();
    stream.clone().group_by_key().count(&Table::new("counts")).to(&counts);
    stream.group_by_key().reduce(&table, i64::max).updates().to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (key, value) in [("a", 3), ("b", 1), ("a", 2)] {
        test.send(&input(), key.to_owned(), value).expect("processed");
    }
    test.crash().expect("restores");
    test.send(&input(), "a".to_owned(), 9).expect("processed");
    assert_eq!(
        test.take(&output()).expect("decodes"),
        pairs(&[("a", 3), ("b", 1), ("a", 3), ("a", 9)])
    );
    let raw: Vec<_> = test.take_raw("counts").into_iter().map(|record| record.value).collect();
    let texts = ["1", "1", "2", "3"].map(|text| Some(Box::from(text.as_bytes())));
    assert_eq!(raw, texts);
    assert_eq!(test.table(&table, &"a".to_owned()).expect("reads"), Some(9));
}

#[test]
fn an_aggregates_timestamp_is_the_largest_it_has_seen() {
    let app = Builder::new("t");
    app.stream(&input()).group_by_key().reduce(&Table::new("sums"), |a, b| a + b).to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (value, timestamp) in [(1, 50), (2, 20), (3, 60)] {
        let record = Record::new("a".to_owned(), value, timestamp);
        test.send_record(&input(), record).expect("processed");
    }
    let out = test.take_records(&output()).expect("decodes");
    let out: Vec<_> = out.into_iter().map(|record| (record.value, record.timestamp)).collect();
    assert_eq!(out, [(1, 50), (3, 50), (6, 60)]);
}

#[test]
fn latest_sends_the_last_value_of_each_key_once_per_commit() {
    let app = Builder::new("t");
    let table = Table::new("sums");
    app.stream(&input()).group_by_key().reduce(&table, |a, b| a + b).latest().to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [1_i64, 2, 3] {
        let record = OwnedRecord {
            key: Some(b"a".as_slice().into()),
            value: Some(Box::from(value.to_be_bytes())),
            ..OwnedRecord::default()
        };
        test.queue_raw("in", 0, record);
    }
    test.send(&input(), "b".to_owned(), 7).expect("processed");
    assert_eq!(test.take(&output()).expect("decodes"), pairs(&[("a", 6), ("b", 7)]));
}

#[test]
fn group_by_brings_equal_keys_of_different_partitions_together() {
    let app = Builder::new("t");
    app.stream(&input())
        .group_by("by-parity", |_, value| (value % 2).to_string())
        .reduce(&Table::new("sums"), |a, b| a + b)
        .to(&output());
    let mut test = TopologyTest::with_partitions(app.build().expect("valid"), &[("in", 4)]);
    for value in 1..=10 {
        test.send(&input(), format!("key-{value}"), value).expect("processed");
    }
    let last: std::collections::BTreeMap<_, _> =
        test.take(&output()).expect("decodes").into_iter().collect();
    assert_eq!(last, pairs(&[("0", 30), ("1", 25)]).into_iter().collect());
}

//! A table's row that cannot be read back is not the fault of the record that needs it. The task
//! stops, whatever the source's error policy and whatever user code does with the error, and names
//! the table, the key and the reason. Otherwise one good record after the other would be skipped.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod bare;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bare::{records, task, task_over};
use headwater_streams_core::agent::{Context, Records};
use headwater_streams_core::codec::{Bytes, Codec};
use headwater_streams_core::{
    Builder, CodecError, Effects, ErrorPolicy, JoinBuffers, JoinWindows, ProcessError, Record,
    Session, Sliding, StoredError, Suppress, Table, TaskError, Topic, Topology, Tumbling,
};
use headwater_testkit::{TestError, TopologyTest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Before {
    sum: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct After {
    sum: i64,
    count: u64,
}

fn input() -> Topic<String, i64> {
    Topic::new("in")
}

fn output() -> Topic<String, i64> {
    Topic::new("out")
}

fn sums<T: Serialize + DeserializeOwned + 'static>(
    init: impl Fn() -> T + Send + Sync + 'static,
    add: impl Fn(&mut T, i64) + Send + Sync + 'static,
) -> Topology {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let stream = app.stream(&input()).group_by_key();
    stream.aggregate(&Table::<String, T>::json("sums"), init, move |sum, _, n| add(sum, n));
    app.build().expect("valid")
}

#[test]
fn a_field_that_was_added_without_a_default_stops_the_task_under_skip() {
    let mut before = task(sums(Before::default, |value, n| value.sum += n));
    before.enqueue(0, records(&[("ann", 5)]));
    before.step(0, 10, &mut Effects::new()).expect("processed");
    before.prepare_commit(&mut Effects::new()).expect("prepared");
    before.committed(&[Some(1)], 0).expect("applied");

    let init = || After { sum: 0, count: 0 };
    let add = |value: &mut After, n| (value.sum, value.count) = (value.sum + n, value.count + 1);
    let mut after = task_over(sums(init, add), before.into_store());
    after.enqueue(0, records(&[("bob", 1), ("ann", 6), ("ann", 7)]));
    let error = after.step(0, 10, &mut Effects::new()).expect_err("stops");
    let TaskError::Stored { error: StoredError { table, key, .. }, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((&**table, &**key), ("sums", "\"ann\""));
    let text = error.to_string();
    assert!(text.contains("the stored value of the table sums, key \"ann\", cannot be read"));
    assert!(text.contains("missing field `count`"), "{text}");
    assert!(!text.contains("decoded") && !text.contains("encoded"), "{text}");
    assert_eq!(after.metrics().skipped, 0);
}

/// Plain strings, until the stored ones become unreadable.
#[derive(Clone, Default)]
struct Changing(Arc<AtomicBool>);

impl Codec<i64> for Changing {
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        Bytes.encode(value, out)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<i64, CodecError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(CodecError::new("of another time"));
        }
        Bytes.decode(bytes)
    }
}

/// Sends two records that are read well, makes the stored values unreadable, and sends a third.
fn third_record(topology: impl FnOnce(&Builder, Changing)) -> (TopologyTest, TestError) {
    let app = Builder::new("t");
    let codec = Changing::default();
    app.on_error(ErrorPolicy::Skip);
    topology(&app, codec.clone());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let record = |second: i64| Record::new("ann".to_owned(), second, second * 1000);
    test.send_record(&input(), record(100)).expect("processed");
    test.send_record(&input(), record(101)).expect("processed");
    codec.0.store(true, Ordering::Relaxed);
    let error = test.send_record(&input(), record(102)).expect_err("stops");
    (test, error)
}

fn stops(table: &str, key: &str, topology: impl FnOnce(&Builder, Changing)) {
    let (test, error) = third_record(topology);
    let text = error.to_string();
    assert!(matches!(error, TestError::Task(TaskError::Stored { .. })), "{table}: {text}");
    let words = format!("the stored value of the table {table}, key {key}, cannot be read: of");
    assert!(text.contains(&words), "{text}");
    assert_eq!((test.metrics().skipped, test.failed().len()), (0, 0), "{table}");
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn values_of_tables_and_windows() {
    let sum = |left: i64, right: i64| left + right;
    stops("sum", "\"ann\"", |app, codec| {
        let table = Table::with("sum", Bytes, codec);
        app.stream(&input()).group_by_key().reduce(&table, sum);
    });
    stops("latest", "\"ann\"", |app, codec| {
        app.table(&input(), &Table::with("latest", Bytes, codec));
    });
    stops("joined", "\"ann\"", |app, codec| {
        let table = app.table(&input(), &Table::with("joined", Bytes, codec));
        app.stream(&input()).join_table(&table, |_, left, right| left + right).to(&output());
    });
    stops("tumbling", "\"ann\" in the window 100000..110000", |app, codec| {
        let windows = app.stream(&input()).group_by_key().window(Tumbling::of(seconds(10)));
        windows.reduce(&Table::with("tumbling", Bytes, codec), sum);
    });
    stops("closed", "\"ann\" in the window 100000..102000", |app, codec| {
        let windows = app.stream(&input()).group_by_key().window(Tumbling::of(seconds(2)));
        let closed = windows.reduce(&Table::with("closed", Bytes, codec), sum).closed();
        closed.select_key(|window, _| window.key.clone()).to(&output());
    });
    stops("sessions", "\"ann\" in the window 100000..101000", |app, codec| {
        let windows = app.stream(&input()).group_by_key().window(Session::of(seconds(10)));
        windows.reduce(&Table::with("sessions", Bytes, codec), sum);
    });
    stops("sliding", "\"ann\" in the window 91000..101000", |app, codec| {
        let windows = app.stream(&input()).group_by_key().window(Sliding::of(seconds(10)));
        windows.reduce(&Table::with("sliding", Bytes, codec), sum);
    });
}

#[test]
fn values_of_buffers_and_joins() {
    stops("held", "\"ann\"", |app, codec| {
        let table = app.table(&input(), &Table::new("all"));
        table.suppress(Suppress::until_time_limit(seconds(60)).codec(codec), "held");
    });
    stops("pairs-right", "\"ann\"", |app, codec| {
        let stream = app.stream(&input()).shared();
        let buffers = JoinBuffers::with("pairs", Bytes, Bytes, codec);
        let windows = JoinWindows::within(seconds(9));
        stream.clone().join(stream, windows, &buffers, |_, l, r| l + r).to(&output());
    });
    stops("late-unmatched", "\"ann\"", |app, codec| {
        let stream = app.stream(&input()).shared();
        let nothing = stream.clone().filter(|_, _| false);
        let windows = JoinWindows::within(Duration::from_millis(500));
        let buffers = JoinBuffers::with("late", Bytes, codec, Bytes);
        let joined = stream.left_join(nothing, windows, &buffers, |_, l, r| l + r.unwrap_or(&0));
        joined.to(&output());
    });
}

#[test]
fn values_of_global_tables() {
    let codes = Topic::<String, i64>::new("codes");
    let codec = Changing::default();
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let global = app.global_table(&codes, &Table::with("global", Bytes, codec.clone()));
    let joined = app.stream(&input()).join_global(&global, |key, _| key.clone(), |_, l, r| l + r);
    joined.to(&output());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.send(&codes, "ann".to_owned(), 7).expect("processed");
    codec.0.store(true, Ordering::Relaxed);
    let error = test.send(&input(), "ann".to_owned(), 1).expect_err("stops");
    assert!(matches!(error, TestError::Task(TaskError::Stored { .. })), "{error}");
    assert!(error.to_string().contains("table global, key \"ann\""), "{error}");
}

#[test]
fn a_processor_cannot_hide_it() {
    for what in ["passes it over", "makes an error of its own", "panics"] {
        stops("seen", "\"ann\"", |app, codec| {
            let table = Table::<String, i64>::with("seen", Bytes, codec);
            let process = app.stream(&input()).process::<String, i64>("look").table(&table);
            let looked = process.each(move |record, cx| {
                let mut seen = cx.table(&table)?;
                match (seen.get(&record.key), what) {
                    (Ok(_), _) => seen.put(&record.key, &record.value),
                    (Err(_), "passes it over") => Ok(()),
                    (Err(_), "panics") => panic!("no value"),
                    (Err(error), _) => Err(ProcessError::new(format!("{error:?}"))),
                }
            });
            looked.to(&output());
        });
    }
}

#[test]
fn an_agent_cannot_hide_it() {
    for fails in [false, true] {
        stops("seen", "\"ann\"", |app, codec| {
            let seen = Table::<String, i64>::with("seen", Bytes, codec);
            let table = seen.clone();
            let run = move |mut records: Records<String, i64>, cx: Context| {
                let seen = table.clone();
                async move {
                    while let Some(record) = records.next().await {
                        match cx.table(&seen).get(&record.key) {
                            Ok(_) => cx.table(&seen).put(&record.key, &record.value)?,
                            Err(_) if fails => return Err("it failed".into()),
                            Err(_) => {}
                        }
                    }
                    Ok(())
                }
            };
            app.agent("look", &input()).writes(&seen).run(run);
        });
    }
}

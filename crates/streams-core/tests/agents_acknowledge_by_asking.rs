//! An agent acknowledges a record by asking for the next one. Its effects are committed with the
//! record or not at all.

use headwater_streams_core::agent::{AgentResult, Context, Records};
use headwater_streams_core::{Builder, ErrorPolicy, Record, Table, Topic, Topology};
use headwater_testkit::TopologyTest;
use std::time::Duration;

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn alerts() -> Topic<String, i64> {
    Topic::new("alerts")
}

fn seen() -> Table<String, u64> {
    Table::new("seen")
}

async fn watch(mut orders: Records<String, i64>, cx: Context) -> AgentResult {
    while let Some(order) = orders.next().await {
        let times = cx.table(&seen()).update(&order.key, |times| *times += 1)?;
        cx.send(&alerts(), order.key, times as i64)?;
        if order.value < 0 {
            return Err("negative".into());
        }
    }
    Ok(())
}

fn watcher(policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    let agent = app.agent("watch", orders().consumed().on_error(policy));
    agent.writes(&seen()).sends(&alerts()).run(watch);
    app.build().expect("valid")
}

fn send(test: &mut TopologyTest, key: &str, value: i64) -> Result<(), String> {
    test.send(&orders(), key.to_owned(), value).map_err(|error| error.to_string())
}

fn taken(test: &mut TopologyTest) -> Vec<(String, i64)> {
    test.take(&alerts()).expect("decodes")
}

#[test]
fn tables_and_sends_are_committed_and_survive_a_crash() {
    let mut test = TopologyTest::new(watcher(ErrorPolicy::Fail));
    send(&mut test, "a", 1).expect("processed");
    send(&mut test, "a", 2).expect("processed");
    test.crash().expect("restores");
    send(&mut test, "a", 3).expect("processed");
    assert_eq!(taken(&mut test), [("a".into(), 1), ("a".into(), 2), ("a".into(), 3)]);
}

#[test]
fn an_error_fails_the_record_and_undoes_its_effects() {
    let mut test = TopologyTest::new(watcher(ErrorPolicy::Fail));
    let error = send(&mut test, "a", -1).expect_err("fails");
    assert!(error.contains("record at orders-0 offset 0: agent watch: negative"), "{error}");

    let mut test = TopologyTest::new(watcher(ErrorPolicy::Skip));
    for value in [1, -1, 2] {
        send(&mut test, "a", value).expect("processed");
    }
    assert_eq!(taken(&mut test), [("a".into(), 1), ("a".into(), 2)]);
    assert_eq!(test.metrics().skipped, 1);
}

async fn sum(mut orders: Records<String, i64>, cx: Context) -> AgentResult {
    loop {
        let batch = orders.take(3, Duration::from_secs(10)).await;
        let sum = batch.iter().map(|order| order.value).sum();
        cx.send(&alerts(), format!("{} records", batch.len()), sum)?;
    }
}

/// A batching agent beside an operator on the same topic: the operator is ahead while a batch is
/// incomplete.
fn summer() -> Topology {
    let app = Builder::new("t");
    app.agent("sum", &orders()).sends(&alerts()).run(sum);
    app.stream(&orders()).to(&Topic::new("copies"));
    app.build().expect("valid")
}

#[test]
fn take_returns_full_batches_at_once_and_others_after_their_time() {
    let mut test = TopologyTest::new(summer());
    for value in [1, 2, 4, 8] {
        send(&mut test, "a", value).expect("processed");
    }
    assert_eq!(taken(&mut test), [("3 records".into(), 7)]);
    test.advance(Duration::from_secs(9)).expect("runs");
    assert_eq!(taken(&mut test), []);
    test.advance(Duration::from_secs(1)).expect("runs");
    assert_eq!(taken(&mut test), [("1 records".into(), 8)]);
}

#[test]
fn an_incomplete_batch_survives_a_crash_and_the_operator_sees_nothing_twice() {
    let mut test = TopologyTest::new(summer());
    for value in [1, 2, 4, 8] {
        send(&mut test, "a", value).expect("processed");
        test.crash().expect("restores");
    }
    send(&mut test, "a", 16).expect("processed");
    test.advance(Duration::from_secs(10)).expect("runs");
    assert_eq!(taken(&mut test), [("3 records".into(), 7), ("2 records".into(), 24)]);
    let copies = test.take(&Topic::<String, i64>::new("copies")).expect("decodes");
    let values: Vec<_> = copies.into_iter().map(|copy| copy.1).collect();
    assert_eq!(values, [1, 2, 4, 8, 16]);
}

#[test]
fn undeclared_tables_and_topics_are_refused_by_name() {
    let app = Builder::new("t");
    app.agent("sneaky", &orders()).run(|mut orders: Records<String, i64>, cx| async move {
        while let Some(Record { key, value, .. }) = orders.next().await {
            if value == 0 {
                cx.send(&alerts(), key, value)?;
            } else {
                cx.table(&seen()).put(&key, &1)?;
            }
        }
        Ok(())
    });
    let mut test = TopologyTest::new(app.build().expect("valid"));
    let error = send(&mut test, "a", 0).expect_err("undeclared");
    assert!(error.contains("sends to alerts without declaring it"), "{error}");
    let error = test.crash().and_then(|()| test.send(&orders(), "a".into(), 1)).expect_err("fails");
    assert!(error.to_string().contains("without declaring it"), "{error}");
}

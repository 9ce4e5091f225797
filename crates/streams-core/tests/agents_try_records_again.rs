//! A record with which an agent failed is delivered again to that agent alone: the operators and
//! other agents of the topic have finished with it. In a batch, the failed record is the one that
//! the agent names, or the one that fails alone. The others are delivered again without it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use headwater_streams_core::agent::{AgentResult, BatchError, Context, Records};
use headwater_streams_core::{
    Async, Backoff, Builder, Call, Consumed, ErrorPolicy, OwnedRecord, Record, Retry, Table, Topic,
    Topology,
};
use headwater_testkit::TopologyTest;

const SECOND: Duration = Duration::from_secs(1);

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn out() -> Topic<String, i64> {
    Topic::new("out")
}

fn retry() -> Retry {
    ErrorPolicy::retry(3, Backoff::fixed(SECOND))
}

fn consumed(policy: ErrorPolicy) -> Consumed<String, i64> {
    orders().consumed().on_error(policy)
}

fn send(test: &mut TopologyTest, values: &[i64]) {
    for value in values {
        test.send(&orders(), "k".to_owned(), *value).expect("processed");
    }
}

fn taken(test: &mut TopologyTest, topic: &str) -> Vec<i64> {
    let all = test.take(&Topic::<String, i64>::new(topic)).expect("decodes");
    all.into_iter().map(|(_, value)| value).collect()
}

fn header(record: &OwnedRecord, name: &str) -> String {
    String::from_utf8_lossy(record.headers.last(name).flatten().unwrap_or(b"-")).into_owned()
}

/// Counts, then fails for negative orders while `away`. An operator and another agent beside it do
/// not fail.
fn topology(policy: ErrorPolicy, away: &Arc<AtomicBool>) -> Topology {
    let app = Builder::new("t");
    app.stream(consumed(policy.clone())).to(&Topic::new("copies"));
    let other = app.agent("other", consumed(policy.clone()));
    other.sends(&Topic::<String, i64>::new("others")).run(
        |mut orders: Records<String, i64>, cx| async move {
            while let Some(order) = orders.next().await {
                cx.send(&Topic::<String, i64>::new("others"), order.key, order.value)?;
            }
            Ok(())
        },
    );
    let counts = Table::<String, i64>::new("counts");
    let agent = app.agent("call", consumed(policy)).writes(&counts);
    let agent = agent.sends(&Topic::<String, i64>::new("counted"));
    let away = Arc::clone(away);
    agent.sends(&out()).run(move |mut orders: Records<String, i64>, cx| {
        let counts = counts.clone();
        let away = Arc::clone(&away);
        async move {
            while let Some(order) = orders.next().await {
                let count = cx.table(&counts).update(&order.key, |count| *count += 1)?;
                if order.value < 0 && away.load(Ordering::Relaxed) {
                    return Err("away".into());
                }
                cx.send(&Topic::<String, i64>::new("counted"), order.key.clone(), count)?;
                cx.send(&out(), order.key, order.value)?;
            }
            Ok(())
        }
    });
    app.build().expect("valid")
}

fn away() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

#[test]
fn the_agent_alone_gets_the_record_again_and_its_first_attempt_left_nothing() {
    let away = away();
    let mut test = TopologyTest::new(topology(retry().then(ErrorPolicy::Fail), &away));
    send(&mut test, &[1, -2, 3]);
    assert_eq!(taken(&mut test, "out"), [1, 3]);
    assert_eq!(test.metrics().waiting, 1);
    test.crash().expect("restores");
    test.advance(SECOND).expect("runs");
    assert_eq!((test.metrics().waiting, test.metrics().retries), (1, 1));
    away.store(false, Ordering::Relaxed);
    test.crash().expect("restores");
    test.advance(SECOND).expect("runs");
    assert_eq!(taken(&mut test, "out"), [-2]);
    assert_eq!(taken(&mut test, "counted"), [1, 2, 3]);
    for others in ["copies", "others"] {
        assert_eq!(taken(&mut test, others), [1, -2, 3], "{others} once");
    }
    test.crash().expect("restores");
    test.advance(60 * SECOND).expect("runs");
    assert!(taken(&mut test, "out").is_empty() && test.metrics().waiting == 0);
}

#[test]
fn with_hold_key_later_records_of_the_key_wait_for_the_agent_only() {
    let away = away();
    let policy = retry().hold_key().then(ErrorPolicy::dead_letter("dead"));
    let mut test = TopologyTest::new(topology(policy, &away));
    send(&mut test, &[1, -2, 3]);
    test.send(&orders(), "other".to_owned(), 4).expect("processed");
    assert_eq!(taken(&mut test, "out"), [1, 4]);
    assert_eq!(taken(&mut test, "copies"), [1, -2, 3, 4]);
    assert_eq!(test.metrics().waiting, 2);
    (0..3).for_each(|_| test.advance(SECOND).expect("runs"));
    let dead = test.take_raw("dead");
    assert_eq!((dead.len(), header(&dead[0], "headwater.attempts")), (1, "4".to_owned()));
    assert_eq!(taken(&mut test, "out"), [3]);
    assert_eq!(test.metrics().waiting, 0);
}

#[test]
fn records_already_queued_for_the_agent_wait_too() {
    let tries = Arc::new(AtomicU32::new(0));
    let app = Builder::new("t");
    let policy = retry().hold_key().then(ErrorPolicy::Fail);
    let agent = app.agent("call", consumed(policy)).sends(&out());
    agent.run(move |mut orders: Records<String, i64>, cx| {
        let tries = Arc::clone(&tries);
        async move {
            while let Some(order) = orders.next().await {
                if order.value < 0 && tries.fetch_add(1, Ordering::Relaxed) == 0 {
                    let mut polls = 0;
                    poll_fn(|context| {
                        polls += 1;
                        context.waker().wake_by_ref();
                        if polls < 10 { Poll::Pending } else { Poll::Ready(()) }
                    })
                    .await;
                    return Err("when it has all of them".into());
                }
                cx.send(&out(), order.key, order.value)?;
            }
            Ok(())
        }
    });
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for (key, value) in [("k", 1), ("k", -2), ("k", 3), ("other", 4), ("k", 5)] {
        let record = Record::new(key.to_owned(), value, 0);
        test.queue(&orders(), &record).expect("queued");
    }
    test.run().expect("runs");
    assert_eq!(taken(&mut test, "out"), [1, 4]);
    test.advance(SECOND).expect("runs");
    assert_eq!(taken(&mut test, "out"), [-2, 3, 5]);
}

#[test]
fn a_record_during_its_retry_is_delivered_again_after_a_crash() {
    let tries = Arc::new(AtomicU32::new(0));
    let is_open = Arc::new(AtomicBool::new(false));
    let app = Builder::new("t");
    let policy = retry().then(ErrorPolicy::Fail);
    let agent = app.agent("call", consumed(policy)).sends(&out());
    let counted = Arc::clone(&tries);
    let gate = Arc::clone(&is_open);
    agent.run(move |mut orders: Records<String, i64>, cx| {
        let tries = Arc::clone(&counted);
        let gate = Arc::clone(&gate);
        async move {
            while let Some(order) = orders.next().await {
                if order.value < 0 {
                    match tries.fetch_add(1, Ordering::Relaxed) {
                        0 => return Err("at first".into()),
                        _ => {
                            poll_fn(|_| match gate.load(Ordering::Relaxed) {
                                true => Poll::Ready(()),
                                false => Poll::Pending,
                            })
                            .await
                        }
                    }
                }
                cx.send(&out(), order.key, order.value)?;
            }
            Ok(())
        }
    });
    let mut test = TopologyTest::new(app.build().expect("valid"));
    send(&mut test, &[-1, 2]);
    test.advance(SECOND).expect("runs");
    send(&mut test, &[3]);
    assert_eq!(tries.load(Ordering::Relaxed), 2);
    assert_eq!(taken(&mut test, "out"), [2], "3 waits for it");
    test.crash().expect("restores");
    assert_eq!(tries.load(Ordering::Relaxed), 3, "its time had come");
    is_open.store(true, Ordering::Relaxed);
    test.crash().expect("restores");
    let mut values = taken(&mut test, "out");
    values.sort_unstable();
    assert_eq!(values, [-1, 3]);
    assert_eq!(test.metrics().waiting, 0);
}

#[test]
fn calls_that_gave_up_are_retried_later() {
    let tries = Arc::new(AtomicU32::new(0));
    let app = Builder::new("t");
    let asked = Arc::clone(&tries);
    app.stream(consumed(retry().then(ErrorPolicy::Skip)))
        .map_async("ask", Async::in_flight(8), move |call: Call<String, i64>| {
            let tries = Arc::clone(&asked);
            async move {
                match call.record.value < 0 && tries.fetch_add(1, Ordering::Relaxed) < 2 {
                    true => Err("away"),
                    false => Ok(call.record.value),
                }
            }
        })
        .to(&out());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    send(&mut test, &[1, -2, 3]);
    assert_eq!(taken(&mut test, "out"), [1, 3]);
    test.advance(SECOND).expect("runs");
    test.crash().expect("restores");
    test.advance(SECOND).expect("runs");
    assert_eq!(taken(&mut test, "out"), [-2]);
    assert_eq!(tries.load(Ordering::Relaxed), 3);
}

/// Takes three records at a time. For a negative one it says which it was, or only that there is
/// one.
fn batches(policy: ErrorPolicy, blames: bool) -> Topology {
    async fn store(mut orders: Records<String, i64>, cx: Context, blames: bool) -> AgentResult {
        loop {
            let batch = orders.take(3, SECOND).await;
            for (index, order) in batch.iter().enumerate() {
                cx.send(&out(), order.key.clone(), order.value)?;
                if order.value < 0 && blames {
                    return Err(BatchError::at(index, "refused").into());
                }
                if order.value < 0 {
                    return Err("refused".into());
                }
            }
            cx.send(&Topic::<String, i64>::new("batches"), "n".into(), batch.len() as i64)?;
        }
    }
    let app = Builder::new("t");
    let agent = app.agent("store", consumed(policy));
    let agent = agent.sends(&out()).sends(&Topic::<String, i64>::new("batches"));
    agent.run(move |orders, cx| store(orders, cx, blames));
    app.build().expect("valid")
}

#[test]
fn one_record_of_a_batch_fails_and_the_others_are_delivered_again() {
    for blames in [false, true] {
        let policy = ErrorPolicy::dead_letter("dead");
        let mut test = TopologyTest::new(batches(policy, blames));
        let mut commits = 0;
        test.abort_when(move |_| {
            commits += 1;
            commits % 3 == 2
        });
        send(&mut test, &[1, -2, 3, 4, 5, 6, -7, -8, 9]);
        test.crash().expect("restores");
        test.advance(SECOND).expect("runs");
        send(&mut test, &[10]);
        // After an abort, an incomplete batch waits for its full time again.
        (0..5).for_each(|_| test.advance(SECOND).expect("runs"));
        assert_eq!(taken(&mut test, "out"), [1, 3, 4, 5, 6, 9, 10], "blames: {blames}");
        assert_eq!(taken(&mut test, "dead"), [-2, -7, -8]);
    }
}

#[test]
fn the_others_come_in_batches_if_the_record_is_named() {
    let mut test = TopologyTest::new(batches(ErrorPolicy::Skip, true));
    send(&mut test, &[1, 2, -3, 4, 5, 6, 7]);
    assert_eq!(taken(&mut test, "batches"), [3, 3]);
    assert_eq!(test.metrics().skipped, 1);
    let failed = test.failed();
    assert!(failed[0].contains("orders-0 offset 2: agent store: refused"), "{failed:?}");
}

#[test]
fn a_record_of_a_batch_is_retried_too() {
    for blames in [false, true] {
        for holds in [false, true] {
            let retry = if holds { retry().hold_key() } else { retry() };
            let policy = retry.then(ErrorPolicy::dead_letter("dead"));
            let mut test = TopologyTest::new(batches(policy, blames));
            send(&mut test, &[1, -2, 3]);
            (0..2).for_each(|_| test.advance(SECOND).expect("runs"));
            send(&mut test, &[4, 5]);
            (0..8).for_each(|_| test.advance(SECOND).expect("runs"));
            assert_eq!(taken(&mut test, "out"), [1, 3, 4, 5], "blames: {blames}, holds: {holds}");
            let dead = test.take_raw("dead");
            assert_eq!((dead.len(), header(&dead[0], "headwater.attempts")), (1, "4".to_owned()));
            assert_eq!(test.metrics().waiting, 0);
        }
    }
}

#[test]
fn an_undecodable_record_after_an_unacknowledged_one_is_one_dead_letter() {
    let is_open = Arc::new(AtomicBool::new(false));
    let app = Builder::new("t");
    let policy = ErrorPolicy::dead_letter("dead");
    let agent = app.agent("slow", consumed(policy)).sends(&out());
    let gate = Arc::clone(&is_open);
    agent.run(move |mut orders: Records<String, i64>, cx| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some(order) = orders.next().await {
                poll_fn(|_| match gate.load(Ordering::Relaxed) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                cx.send(&out(), order.key, order.value)?;
            }
            Ok(())
        }
    });
    let mut test = TopologyTest::new(app.build().expect("valid"));
    send(&mut test, &[1]);
    let key = Some(b"k"[..].into());
    let broken = OwnedRecord { key, value: Some(b"short"[..].into()), ..OwnedRecord::default() };
    test.send_raw("orders", broken).expect("processed");
    send(&mut test, &[2]);
    assert!(test.take_raw("dead").is_empty(), "the one before it may come again, and it with it");
    test.crash().expect("restores");
    is_open.store(true, Ordering::Relaxed);
    test.crash().expect("restores");
    assert_eq!(taken(&mut test, "out"), [1, 2]);
    assert_eq!(test.take_raw("dead").len(), 1);
}

#[test]
fn keys_cannot_be_held_for_concurrent_calls() {
    let app = Builder::new("t");
    let policy = retry().hold_key().then(ErrorPolicy::Skip);
    app.stream(consumed(policy))
        .map_async("ask", Async::in_flight(8), |call: Call<String, i64>| async move {
            Ok::<_, std::fmt::Error>(call.record.value)
        })
        .to(&out());
    let problem = app.build().map(drop).expect_err("refused").to_string();
    assert!(problem.contains("holds keys, but map_async ask calls with several"), "{problem}");
}

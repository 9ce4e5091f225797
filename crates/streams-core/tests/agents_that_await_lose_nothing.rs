//! An agent that awaits something while it processes a record loses nothing. What it sent before is
//! undone together with what it sent after, a failed batch keeps its bytes, and a panic stops no
//! other record.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod bare;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::task::Poll;
use std::time::Duration;

use bare::{records, task, task_over};
use headwater_streams_core::agent::{AgentResult, Context, Records};
use headwater_streams_core::codec::{Codec, CodecError, Text};
use headwater_streams_core::{
    Builder, Effects, ErrorPolicy, OwnedBatch, OwnedRecord, Record, Store, StoreBatch, StoreError,
    Table, Task, TaskError, Topic, Topology,
};
use headwater_testkit::TopologyTest;

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn alerts() -> Topic<String, i64> {
    Topic::new("alerts")
}

/// Returns at the next poll, as a request would.
async fn a_moment() {
    let mut waited = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Sends before and after it waits. Fails for negative numbers.
async fn ask(mut orders: Records<String, i64>, cx: Context) -> AgentResult {
    while let Some(order) = orders.next().await {
        cx.send(&alerts(), format!("before {}", order.key), order.value)?;
        a_moment().await;
        cx.send(&alerts(), format!("after it, and longer than before {}", order.key), order.value)?;
        a_moment().await;
        if order.value < 0 {
            return Err("negative".into());
        }
    }
    Ok(())
}

fn asker(policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    app.on_error(policy);
    app.agent("ask", &orders()).sends(&alerts()).run(ask);
    // Sends before each record of the agent.
    app.stream(&orders()).to(&Topic::new("copies"));
    app.build().expect("valid")
}

/// What a worker sends after each of several turns: topics, keys and values.
fn turned(task: &mut Task, turns: usize) -> Vec<(String, String, i64)> {
    let mut effects = Effects::new();
    let mut sent = Vec::new();
    for _ in 0..turns {
        task.advance(0, &mut effects).expect("goes on");
        task.step(0, 1_000, &mut effects).expect("goes on");
        sent.extend(effects.iter().map(|effect| {
            let key = String::from_utf8(effect.key.expect("a key").to_vec()).expect("text");
            let value = effect.value.expect("a value").try_into().expect("eight bytes");
            (effect.topic.to_string(), key, i64::from_be_bytes(value))
        }));
        effects.clear();
    }
    sent
}

#[test]
fn a_skipped_record_leaves_nothing_of_what_it_sent_before_waiting() {
    let mut task = task(asker(ErrorPolicy::Skip));
    task.enqueue(0, records(&[("a", 1), ("b", -1), ("c", 2)]));
    let sent = turned(&mut task, 20);
    let alerts: Vec<_> = sent.iter().filter(|sent| sent.0 == "alerts").collect();
    let keys: Vec<_> = alerts.iter().map(|alert| (&*alert.1, alert.2)).collect();
    let after = |key: &str| format!("after it, and longer than before {key}");
    let of_a = after("a");
    let of_c = after("c");
    assert_eq!(keys, [("before a", 1), (&*of_a, 1), ("before c", 2), (&*of_c, 2)]);
}

#[test]
fn a_dead_letter_has_its_own_bytes_and_the_agent_sends_nothing_else() {
    let mut task = task(asker(ErrorPolicy::dead_letter("dead")));
    task.enqueue(0, records(&[("a", 1), ("b", -1)]));
    let sent = turned(&mut task, 20);
    let of_b: Vec<_> = sent.iter().filter(|sent| sent.2 == -1).collect();
    // Each reader of a topic decides for itself: what operators made of the record remains.
    let sent = |topic: &str| (topic.to_owned(), "b".to_owned(), -1);
    assert_eq!(of_b, [&sent("copies"), &sent("dead")]);
}

#[test]
fn a_commit_excludes_unacknowledged_records_of_an_agent() {
    let app = Builder::new("t");
    let agent = app.agent("wait", &orders()).sends(&alerts());
    agent.run(|mut orders: Records<String, i64>, cx: Context| async move {
        while let Some(order) = orders.next().await {
            cx.send(&alerts(), order.key, order.value)?;
            if order.value == 2 {
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    });
    app.stream(&orders()).to(&Topic::new("copies"));
    let mut task = task(app.build().expect("valid"));
    task.enqueue(0, records(&[("a", 1), ("b", 2), ("c", 3)]));
    let sent = turned(&mut task, 2);
    assert_eq!(sent.iter().filter(|sent| sent.0 == "copies").count(), 3, "others go on: {sent:?}");
    let alerts: Vec<_> = sent.iter().filter(|sent| sent.0 == "alerts").map(|sent| sent.2).collect();
    assert_eq!(alerts, [1], "what was sent for the second record is not in the log yet");
    let commit = task.prepare_commit(&mut Effects::new()).expect("nothing holds it up");
    assert_eq!((commit.offsets[0].offset, &*commit.offsets[0].metadata), (1, "hw1;p::3"));
}

#[test]
fn output_before_the_first_record_is_sent() {
    let app = Builder::new("t");
    app.agent("hello", &orders()).sends(&alerts()).run(
        |mut orders: Records<String, i64>, cx: Context| async move {
            let record = Record { key: "up".into(), value: 1, timestamp: 5 };
            cx.send_at(&alerts(), record)?;
            while orders.next().await.is_some() {}
            Ok(())
        },
    );
    let mut task = task(app.build().expect("valid"));
    assert_eq!(turned(&mut task, 3), [("alerts".to_owned(), "up".to_owned(), 1)]);
    assert!(task.is_dirty());
}

async fn fail_batches(mut orders: Records<String, i64>, _: Context) -> AgentResult {
    loop {
        let batch = orders.take(3, Duration::from_secs(10)).await;
        if batch.iter().any(|order| order.value < 0) {
            return Err("negative".into());
        }
    }
}

#[test]
fn the_failed_record_of_a_batch_is_blamed() {
    let app = Builder::new("t");
    let others = Topic::<String, i64>::new("others");
    app.on_error(ErrorPolicy::dead_letter("dead"));
    app.agent("batches", &orders()).run(fail_batches);
    app.stream(&others).merge(app.stream(&orders())).to(&Topic::new("copies"));
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.send(&orders(), "a".into(), 1).expect("collected");
    test.send(&orders(), "b".into(), -1).expect("collected");
    // The task's last record is from another input.
    test.send(&others, "x".into(), 1).expect("processed");
    test.advance(Duration::from_secs(10)).expect("fails, and is dealt with");
    let dead = test.take(&Topic::<String, i64>::new("dead")).expect("decodes");
    assert_eq!(dead, [("b".to_owned(), -1)]);
    assert_eq!(test.metrics().dead_lettered, 1);
    assert!(test.failed()[0].contains("record at orders-0 offset 1"), "{:?}", test.failed());
}

#[test]
fn an_error_of_a_batch_names_the_record_that_failed() {
    let app = Builder::new("t");
    app.agent("batches", &orders()).run(fail_batches);
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [1, 2, 3, -1, 4] {
        test.send(&orders(), "k".into(), value).expect("collected");
    }
    let error = test.advance(Duration::from_secs(10)).expect_err("fails").to_string();
    assert!(error.contains("record at orders-0 offset 3: agent batches: negative"), "{error}");
}

/// Panics where other codecs return an error.
struct Explosive;

impl Codec<i64> for Explosive {
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<i64, CodecError> {
        let bytes: [u8; 8] = bytes.unwrap_or_default().try_into().expect("eight bytes");
        Ok(i64::from_be_bytes(bytes))
    }
}

#[test]
fn a_panic_while_decoding_for_an_agent_fails_the_record() {
    let topic = Topic::<String, i64>::with("orders", Text, Explosive);
    let app = Builder::new("t");
    let agent = app.agent("ask", topic.consumed().on_error(ErrorPolicy::Skip));
    agent.sends(&alerts()).run(ask);
    let mut task = task(app.build().expect("valid"));
    let short = OwnedRecord {
        offset: 1,
        key: Some(b"b"[..].into()),
        value: Some(b"short"[..].into()),
        ..OwnedRecord::default()
    };
    task.enqueue(0, records(&[("a", 1)]));
    task.enqueue(0, Box::new(OwnedBatch::from(vec![short])));
    let sent = turned(&mut task, 10);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(task.metrics().skipped, 1);
}

/// A damaged disk.
struct Damaged;

impl Damaged {
    fn error<T>() -> Result<T, StoreError> {
        Err(StoreError::Corrupt { task: "0-0".to_owned(), cause: "a bad block".to_owned() })
    }
}

impl Store for Damaged {
    fn get(&self, _: usize, _: &[u8], _: &mut Vec<u8>) -> Result<bool, StoreError> {
        Self::error()
    }

    fn scan(
        &self,
        _: usize,
        _: &[u8],
        _: Option<&[u8]>,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        Self::error()
    }

    fn position(&self, _: usize) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    fn as_of(&self, _: usize) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    fn apply(&mut self, _: &StoreBatch) -> Result<(), StoreError> {
        Self::error()
    }

    fn clear(&mut self, _: usize) -> Result<(), StoreError> {
        Self::error()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn a_failing_store_is_not_the_fault_of_an_agents_record() {
    let seen = Table::<String, u64>::new("seen");
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let table = seen.clone();
    app.agent("look", &orders()).writes(&seen).run(move |mut orders: Records<String, i64>, cx| {
        let seen = table.clone();
        async move {
            while let Some(order) = orders.next().await {
                // Not even if the agent ignores it.
                let _ = cx.table(&seen).get(&order.key);
            }
            Ok(())
        }
    });
    let mut task = task_over(app.build().expect("valid"), Box::new(Damaged));
    task.enqueue(0, records(&[("a", 1)]));
    let error = task.step(0, 10, &mut Effects::new()).expect_err("the store failed");
    let is_corrupt = matches!(&error, TaskError::Store { error: StoreError::Corrupt { .. }, .. });
    assert!(is_corrupt, "{error}");
    assert_eq!(task.metrics().skipped, 0);
}

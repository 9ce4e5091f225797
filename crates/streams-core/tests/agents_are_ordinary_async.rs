//! `select!`, timeouts, `join!`, channels and sets of futures work in an agent as they do
//! elsewhere. A record counts as done only while the agent waits for the next one. Anything that
//! wakes an agent runs it.

#![allow(unreachable_pub, reason = "a module of a test program")]
#![expect(clippy::disallowed_methods, reason = "one test does on a thread what it must not")]

mod bare;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use bare::{records, task};
use futures::channel::mpsc;
use futures::future::{Either, join, select};
use futures::stream::{FuturesUnordered, StreamExt};
use headwater_streams_core::agent::{AgentResult, Context, Records};
use headwater_streams_core::{
    Builder, Effects, ErrorPolicy, Record, Resume, Table, Task, Topic, Topology,
};
use headwater_testkit::TopologyTest;

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn out() -> Topic<String, i64> {
    Topic::new("out")
}

/// The topology of one agent that sends to `out`.
fn agent<F, Fut>(function: F) -> Topology
where
    F: Fn(Records<String, i64>, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = AgentResult> + Send + 'static,
{
    let app = Builder::new("t");
    app.agent("a", &orders()).sends(&out()).run(function);
    app.build().expect("valid")
}

fn turn(task: &mut Task) -> Vec<i64> {
    let mut effects = Effects::new();
    task.advance(0, &mut effects).expect("goes on");
    task.step(0, 1_000, &mut effects).expect("goes on");
    let value = |value: Option<&[u8]>| value.expect("a value").try_into().expect("eight bytes");
    effects.iter().map(|effect| i64::from_be_bytes(value(effect.value))).collect()
}

fn committed(task: &mut Task) -> i64 {
    task.prepare_commit(&mut Effects::new()).expect("commits").offsets[0].offset
}

/// Counts how often the task is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_abandoned_wait_loses_no_record() {
    // The agent does its own work when told to, after it has stopped waiting for records.
    let (tick, ticks) = mpsc::unbounded::<()>();
    let ticks = Arc::new(Mutex::new(Some(ticks)));
    let mut task = task(agent(move |mut records, cx| {
        let mut ticks = ticks.lock().expect("one at a time").take().expect("started once");
        async move {
            loop {
                let next = match select(pin!(records.next()), ticks.next()).await {
                    Either::Left((record, _)) => record,
                    Either::Right(_) => None,
                };
                match next {
                    Some(record) => cx.send(&out(), record.key, record.value)?,
                    // A flush that takes a while.
                    None => {
                        cx.send_at(&out(), Record { key: "f".into(), value: 7, timestamp: 1 })?;
                        let _told = ticks.next().await;
                    }
                }
            }
        }
    }));
    task.enqueue(0, records(&[("a", 1)]));
    turn(&mut task);
    assert_eq!(committed(&mut task), 1);
    tick.unbounded_send(()).expect("it listens");
    assert_eq!(turn(&mut task), [0; 0], "half of a flush is not sent");
    // It waits only for its own work: new records are not acknowledged.
    task.enqueue(0, records(&[("a", 1), ("b", 2), ("c", 3)]));
    assert_eq!(turn(&mut task), [0; 0]);
    assert_eq!(committed(&mut task), 1);
    tick.unbounded_send(()).expect("it listens");
    assert_eq!(turn(&mut task), [7, 2, 3]);
    assert_eq!(committed(&mut task), 3);
}

#[test]
fn an_agent_that_is_woken_runs_on_a_quiet_topic_too() {
    let (sender, receiver) = mpsc::unbounded::<i64>();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let mut task = task(agent(move |mut records, cx| {
        let mut messages = receiver.lock().expect("one at a time").take().expect("started once");
        async move {
            loop {
                match select(pin!(records.next()), messages.next()).await {
                    Either::Left(_) => {}
                    Either::Right((message, _)) => {
                        let value = message.unwrap_or_default();
                        cx.send_at(&out(), Record { key: "m".into(), value, timestamp: 1 })?;
                    }
                }
            }
        }
    }));
    let bell = Arc::new(Bell::default());
    task.set_waker(Waker::from(Arc::clone(&bell)));
    (0..2).for_each(|_| drop(turn(&mut task)));
    assert!(!task.is_ready());
    for message in 1..=3 {
        let rung = bell.0.load(Ordering::Relaxed);
        sender.unbounded_send(message).expect("it listens");
        assert_eq!(bell.0.load(Ordering::Relaxed), rung + 1, "the task is woken");
        assert!(task.is_ready());
        assert_eq!(turn(&mut task), [message]);
        assert!(task.is_dirty(), "what was sent without a record is committed, too");
        committed(&mut task);
    }
}

#[test]
fn a_wait_inside_of_other_futures_gets_its_record() {
    // A set of futures polls only those that were woken.
    let mut task = task(agent(|mut records, cx| async move {
        loop {
            let mut set = FuturesUnordered::new();
            set.push(Either::Left(async { records.next().await }));
            set.push(Either::Right(std::future::pending()));
            if let Some(Some(record)) = set.next().await {
                cx.send(&out(), record.key, record.value)?;
            }
        }
    }));
    turn(&mut task);
    task.enqueue(0, records(&[("a", 1)]));
    assert_eq!(turn(&mut task), [1]);
    task.enqueue(0, records(&[("a", 1), ("b", 2)]));
    assert_eq!(turn(&mut task), [2]);
}

#[test]
fn a_wait_beside_other_work_acknowledges_when_both_are_done() {
    let mut task = task(agent(|mut records, cx| async move {
        let mut turns = 0;
        loop {
            let work = poll_fn(|context| {
                turns += 1;
                context.waker().wake_by_ref();
                if turns % 3 == 0 { Poll::Ready(()) } else { Poll::Pending }
            });
            let (record, ()) = join(records.next(), work).await;
            let Some(Record { key, value, .. }) = record else { return Ok(()) };
            cx.send(&out(), key, value)?;
        }
    }));
    task.enqueue(0, records(&[("a", 1), ("b", 2), ("c", 3)]));
    let sent: Vec<_> = (0..20).flat_map(|_| turn(&mut task)).collect();
    assert_eq!(sent, [1, 2, 3]);
    assert_eq!(committed(&mut task), 3);
}

#[test]
fn records_asked_for_outside_of_the_agent_are_an_error() {
    for batch in [false, true] {
        let moved: Arc<Mutex<Option<Records<String, i64>>>> = Arc::default();
        let kept = Arc::clone(&moved);
        let mut task = task(agent(move |records, _| {
            *kept.lock().expect("one at a time") = Some(records);
            std::future::pending()
        }));
        task.enqueue(0, records(&[("a", 1)]));
        turn(&mut task);
        // A task that the agent spawned would do this.
        let outside = std::thread::spawn(move || {
            let mut records = moved.lock().expect("one at a time").take().expect("moved here");
            let mut context = std::task::Context::from_waker(Waker::noop());
            if batch {
                let given = pin!(records.take(1, Duration::ZERO)).poll(&mut context);
                assert!(given.is_pending());
            } else {
                assert_eq!(pin!(records.next()).poll(&mut context), Poll::Ready(None));
            }
        });
        outside.join().expect("no panic");
        assert!(task.is_ready(), "the task is told");
        let error = task.advance(0, &mut Effects::new()).expect_err("the application ends");
        assert!(error.to_string().contains("agent a were requested outside"), "{error}");
        assert_eq!(committed(&mut task), 0, "nothing was handled");
    }
}

#[test]
fn the_time_and_the_headers_are_those_of_the_current_record() {
    let topic = orders();
    let app = Builder::new("t");
    let others = Topic::<String, i64>::new("others");
    let by_value = topic.consumed().timestamps(|order: &Record<String, i64>| order.value);
    let agent = app.agent("a", by_value).sends(&out());
    agent.run(|mut orders: Records<String, i64>, cx: Context| async move {
        loop {
            let batch = orders.take(2, Duration::from_secs(10)).await;
            cx.send(&out(), format!("{} orders", batch.len()), cx.timestamp()?)?;
        }
    });
    app.stream(&others).merge(app.stream(&Topic::new("third"))).to(&Topic::new("copies"));
    app.stream(&topic).merge(app.stream(&others)).to(&Topic::new("all"));
    let mut test = TopologyTest::new(app.build().expect("valid"));
    test.send(&orders(), "x".into(), 5_000).expect("collected");
    // The task's last record is from another input and has another time.
    test.send(&others, "y".into(), 1).expect("processed");
    test.advance(Duration::from_secs(10)).expect("handed over");
    let sent = test.take_records(&out()).expect("decodes");
    assert_eq!((sent[0].value, sent[0].timestamp), (5_000, 5_000), "{sent:?}");
}

#[test]
fn a_restart_redelivers_unacknowledged_records_to_the_agent_only() {
    fn topology() -> Topology {
        let app = Builder::new("t");
        app.agent("a", &orders()).sends(&out()).run(
            |mut orders: Records<_, i64>, cx: Context| async move {
                while let Some(order) = orders.next().await {
                    cx.send(&out(), order.key, order.value)?;
                    if order.value == 2 {
                        std::future::pending::<()>().await;
                    }
                }
                Ok(())
            },
        );
        app.stream(&orders()).map_values(|value| -value).to(&out());
        app.build().expect("valid")
    }
    let mut first = task(topology());
    let all = [("a", 1), ("b", 2), ("c", 3)];
    first.enqueue(0, records(&all));
    assert_eq!(turn(&mut first), [-1, 1, -2, -3]);
    let commit = first.prepare_commit(&mut Effects::new()).expect("commits");
    let mut second = task(topology());
    let offset = commit.offsets[0].offset;
    let metadata = commit.offsets[0].metadata.clone();
    second.resume(&[Resume { offset, metadata, committed: true }], 0).expect("resumes");
    second.enqueue(0, records(&all));
    // It waits again while it processes its second record, so what it has sent for that is not
    // visible.
    assert_eq!(turn(&mut second), [0; 0]);
    assert_eq!(committed(&mut second), 1);
}

#[test]
fn a_slow_agent_is_named_with_its_record() {
    let mut task = task(agent(|mut records, _| async move {
        records.next().await;
        std::future::pending().await
    }));
    task.enqueue(0, records(&[("a", 1), ("b", 2)]));
    turn(&mut task);
    assert_eq!(task.slow_agents(Duration::from_secs(30)), []);
    task.advance(31_000, &mut Effects::new()).expect("goes on");
    let slow = task.slow_agents(Duration::from_secs(30));
    let [one] = &slow[..] else { panic!("{slow:?}") };
    let place = (&*one.agent, one.partition.to_string(), one.offset, one.since.as_secs());
    assert_eq!(place, ("a", "orders-0".to_owned(), 0, 31));
}

#[test]
fn a_record_that_exceeds_the_limit_fails() {
    let app = Builder::new("t");
    let skip = orders().consumed().on_error(ErrorPolicy::dead_letter("dead"));
    let agent = app.agent("a", skip).sends(&out());
    agent.limit(Duration::from_secs(5)).run(
        |mut orders: Records<_, i64>, cx: Context| async move {
            while let Some(order) = orders.next().await {
                cx.send(&out(), order.key, order.value)?;
                if order.value == 2 {
                    std::future::pending::<()>().await;
                }
            }
            Ok(())
        },
    );
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [1, 2, 3] {
        test.send(&orders(), "k".into(), value).expect("taken");
    }
    test.advance(Duration::from_secs(4)).expect("waits");
    assert_eq!(test.take(&out()).expect("decodes"), [("k".to_owned(), 1)]);
    test.advance(Duration::from_secs(1)).expect("fails, and is dealt with");
    assert_eq!(test.take(&out()).expect("decodes"), [("k".to_owned(), 3)]);
    let dead = test.take(&Topic::<String, i64>::new("dead")).expect("decodes");
    assert_eq!(dead, [("k".to_owned(), 2)]);
    assert!(test.failed()[0].contains("not asked for the next record within 5s"));
}

#[test]
fn writes_of_an_agent_are_private_until_it_acknowledges() {
    let seen = Table::<String, i64>::new("seen");
    let (go, gate) = mpsc::unbounded::<()>();
    let gate = Arc::new(Mutex::new(Some(gate)));
    let app = Builder::new("t");
    let table = seen.clone();
    app.agent("a", &orders()).writes(&seen).sends(&out()).run(
        move |mut orders: Records<_, i64>, cx: Context| {
            let mut gate = gate.lock().expect("one at a time").take();
            let table = table.clone();
            async move {
                while let Some(Record { key, value, .. }) = orders.next().await {
                    cx.table(&table).put(&key, &value)?;
                    if value == 2
                        && let Some(gate) = &mut gate
                    {
                        assert!(gate.next().await.is_some());
                    }
                    // It sees its own writes after it has waited.
                    let read = cx.table(&table).get(&key)?.unwrap_or_default();
                    cx.send(&out(), key, read)?;
                }
                Ok(())
            }
        },
    );
    // Another reader of the table, in the same task.
    let table = seen.clone();
    let look = app.stream(&orders()).process::<String, i64>("look").reads(&seen);
    let look = look.each(move |order, cx| {
        let value = cx.table(&table)?.get(&order.key)?.unwrap_or_default();
        cx.forward(Record::new(order.key, 100 + value, order.timestamp))
    });
    look.to(&out());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [1, 2, 3] {
        test.send(&orders(), "k".into(), value).expect("taken");
    }
    let values = |test: &mut TopologyTest| -> Vec<i64> {
        test.take(&out()).expect("decodes").into_iter().map(|sent| sent.1).collect()
    };
    assert_eq!(values(&mut test), [100, 1, 101, 101]);
    assert_eq!(test.table(&seen, &"k".into()).expect("reads"), Some(1));
    go.unbounded_send(()).expect("it waits");
    test.advance(Duration::ZERO).expect("goes on");
    assert_eq!(values(&mut test), [2, 3]);
    assert_eq!(test.table(&seen, &"k".into()).expect("reads"), Some(3));
}

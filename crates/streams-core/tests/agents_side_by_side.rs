//! Several concurrent futures of one agent. Records of one key are processed one after the other,
//! and what they send comes once and in the order of the records, whatever fails or restarts.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod bare;
mod service;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use bare::{records, task};
use headwater_streams_core::agent::{AgentResult, Context, Records};
use headwater_streams_core::{Builder, Effects, ErrorPolicy, Resume, Task, Topic, Topology};
use headwater_testkit::{Dice, TopologyTest};
use service::Service;

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn out() -> Topic<String, i64> {
    Topic::new("out")
}

/// Sends before and after it asks. Fails if the service says so.
async fn ask(mut orders: Records<String, i64>, cx: Context, service: Service) -> AgentResult {
    while let Some(order) = orders.next().await {
        cx.send(&out(), order.key.clone(), -order.value)?;
        let answer = service.clone().ask(cx.id()?.to_string(), 1).await?;
        cx.send(&out(), order.key, answer)?;
    }
    Ok(())
}

fn asking(service: &Service, agents: usize, on_stream: bool) -> Topology {
    let app = Builder::new("t");
    let service = service.clone();
    let skip = orders().consumed().on_error(ErrorPolicy::Skip);
    let agent = if on_stream {
        app.stream(skip).filter(|_, _| true).agent("ask")
    } else {
        app.agent("ask", skip)
    };
    agent.sends(&out()).concurrency(agents).run(move |orders, cx| ask(orders, cx, service.clone()));
    app.build().expect("valid")
}

fn turn(task: &mut Task) -> Vec<i64> {
    let mut effects = Effects::new();
    task.step(0, 1_000, &mut effects).expect("goes on");
    task.advance(0, &mut effects).expect("goes on");
    let value = |value: Option<&[u8]>| value.expect("a value").try_into().expect("eight bytes");
    effects.iter().map(|effect| i64::from_be_bytes(value(effect.value))).collect()
}

fn committed(task: &mut Task) -> i64 {
    task.prepare_commit(&mut Effects::new()).expect("commits").offsets[0].offset
}

#[test]
fn random_answers_failures_and_restarts_match_one_future() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let service = Service::default();
        let agents = 2 + dice.below(4);
        let on_stream = dice.below(2) == 0;
        let keys = ["a", "b", "c", "d", "e"];
        let all: Vec<_> = (0..20).map(|value| (keys[dice.below(5)], 1 + value)).collect();
        let poisoned: BTreeSet<i64> = (0..20).filter(|_| dice.below(6) == 0).collect();
        let mut running = task(asking(&service, agents, on_stream));
        running.enqueue(0, records(&all));
        let mut sent = Vec::new();
        let mut done = 0;
        let mut most = 0;
        for _ in 0..2_000 {
            let sent_now = turn(&mut running);
            if dice.below(30) == 0 {
                // The transaction was aborted, or the process killed: nothing of this turn counts.
                let metadata = String::new();
                running = task(asking(&service, agents, on_stream));
                let resume = Resume { offset: done, metadata, committed: true };
                running.resume(&[resume], 0).expect("resumes");
                running.enqueue(0, records(&all));
                continue;
            }
            sent.extend(sent_now);
            done = committed(&mut running);
            if done == 20 {
                break;
            }
            let open = service.open();
            most = most.max(open.len());
            let of = |id: &String| -> usize {
                id.rsplit('-').next().and_then(|n| n.parse().ok()).expect("an offset")
            };
            let in_hand: BTreeSet<_> = open.iter().map(|id| all[of(id)].0).collect();
            assert_eq!(in_hand.len(), open.len(), "seed {seed}: one of each key: {open:?}");
            for id in open {
                if dice.below(3) == 0 {
                    let offset = of(&id) as i64;
                    let fails = poisoned.contains(&offset);
                    let answer = if fails { Err("no".to_owned()) } else { Ok(offset * 10) };
                    service.answer(&id, 1, answer);
                }
            }
        }
        assert_eq!(done, 20, "seed {seed}");
        let model: Vec<_> = (0..20)
            .filter(|offset| !poisoned.contains(offset))
            .flat_map(|offset| [-(offset + 1), offset * 10])
            .collect();
        assert_eq!(sent, model, "seed {seed}");
        assert!(most > 1, "seed {seed}: side by side");
    }
}

#[test]
fn a_failed_batch_is_searched_for_the_record_that_failed() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let agent = app.agent("batches", &orders()).sends(&out()).concurrency(2);
    agent.run(|mut orders: Records<String, i64>, cx: Context| async move {
        loop {
            let batch = orders.take(4, Duration::from_secs(10)).await;
            if batch.iter().any(|order| order.value == 3) {
                return Err("three".into());
            }
            for order in batch {
                cx.send(&out(), order.key, order.value)?;
            }
        }
    });
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in 1..=8 {
        test.send(&orders(), format!("key {}", value % 3), value).expect("taken");
    }
    for _ in 0..4 {
        test.advance(Duration::from_secs(10)).expect("is dealt with");
    }
    // The output of a batch is at the position of its first record.
    let values: BTreeSet<_> =
        test.take(&out()).expect("decodes").iter().map(|sent| sent.1).collect();
    assert_eq!(values, BTreeSet::from([1, 2, 4, 5, 6, 7, 8]));
    assert_eq!(test.metrics().skipped, 1);
}

#[test]
fn a_future_that_takes_too_long_fails_and_the_others_continue() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    let agent = app.agent("limited", &orders()).sends(&out()).concurrency(3);
    let limited = agent.limit(Duration::from_secs(5));
    limited.run(|mut orders: Records<String, i64>, cx: Context| async move {
        while let Some(order) = orders.next().await {
            if order.value == 2 {
                std::future::pending::<()>().await;
            }
            cx.send(&out(), order.key, order.value)?;
        }
        Ok(())
    });
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in 1..=6 {
        test.send(&orders(), format!("key {}", value % 4), value).expect("taken");
    }
    let sent = |test: &mut TopologyTest| -> Vec<i64> {
        test.take(&out()).expect("decodes").iter().map(|sent| sent.1).collect()
    };
    assert_eq!(sent(&mut test), [1]);
    test.advance(Duration::from_secs(5)).expect("is dealt with");
    assert_eq!(sent(&mut test), [3, 4, 5, 6]);
    assert!(test.failed()[0].contains("not asked for the next record within 5s"));
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
fn a_replacement_future_wakes_the_current_driver_of_the_task() {
    let service = Service::default();
    let mut task = task(asking(&service, 2, false));
    // Another thread started the task than the one that drives it.
    let bell = Arc::new(Bell::default());
    task.set_waker(Waker::from(Arc::clone(&bell)));
    task.enqueue(0, records(&[("a", 1), ("a", 2)]));
    (0..2).for_each(|_| drop(turn(&mut task)));
    service.answer("orders-0-0", 1, Err("no".to_owned()));
    (0..3).for_each(|_| drop(turn(&mut task)));
    assert_eq!(service.open(), ["orders-0-1"], "another one has the next record");
    let rung = bell.0.load(Ordering::Relaxed);
    service.answer("orders-0-1", 1, Ok(20));
    assert_eq!(bell.0.load(Ordering::Relaxed), rung + 1, "the task is woken");
}

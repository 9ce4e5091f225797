//! `map_async`: concurrent calls whose results have the order of the records, however long each
//! takes. A restart repeats the calls in flight, and no others.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod bare;
mod service;

use std::collections::BTreeSet;
use std::time::Duration;

use bare::{records, task};
use headwater_streams_core::{
    Async, Backoff, Builder, Call, Effects, ErrorPolicy, Resume, Table, Task, Topic, Topology,
    Tumbling,
};
use headwater_testkit::{Dice, TopologyTest};
use service::Service;

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn out() -> Topic<String, i64> {
    Topic::new("out")
}

fn calling(service: &Service, settings: Async, policy: ErrorPolicy) -> Topology {
    let app = Builder::new("t");
    let service = service.clone();
    let consumed = orders().consumed().on_error(policy);
    app.stream(consumed)
        .map_async("ask", settings, move |call: Call<_, i64>| {
            service.clone().ask(call.id.to_string(), call.attempt)
        })
        .to(&out());
    app.build().expect("valid")
}

fn turn_at(task: &mut Task, now: i64) -> Vec<i64> {
    let mut effects = Effects::new();
    task.step(now, 1_000, &mut effects).expect("goes on");
    task.advance(now, &mut effects).expect("goes on");
    let value = |value: Option<&[u8]>| value.expect("a value").try_into().expect("eight bytes");
    effects.iter().map(|effect| i64::from_be_bytes(value(effect.value))).collect()
}

fn commit(task: &mut Task) -> Resume {
    let commit = task.prepare_commit(&mut Effects::new()).expect("commits");
    let offset = &commit.offsets[0];
    Resume { offset: offset.offset, metadata: offset.metadata.clone(), committed: true }
}

#[test]
fn results_are_in_order_and_no_more_calls_are_made_than_allowed() {
    let service = Service::default();
    let mut task = task(calling(&service, Async::in_flight(3), ErrorPolicy::Fail));
    task.enqueue(0, records(&[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]));
    assert_eq!(turn_at(&mut task, 0), [0; 0]);
    assert_eq!(service.open(), ["orders-0-0", "orders-0-1", "orders-0-2"]);
    service.answer("orders-0-2", 1, Ok(30));
    service.answer("orders-0-1", 1, Ok(20));
    assert!(task.is_ready(), "an answer wakes the task");
    assert_eq!(turn_at(&mut task, 0), [0; 0]);
    assert_eq!(commit(&mut task).offset, 0);
    service.answer("orders-0-0", 1, Ok(10));
    assert_eq!(turn_at(&mut task, 0), [10, 20, 30]);
    assert_eq!(commit(&mut task).offset, 3);
    assert_eq!(service.open(), ["orders-0-3", "orders-0-4"]);
    assert_eq!(service.with(|requests| requests.most), 3);
}

#[test]
fn a_restart_calls_again_what_was_in_flight_and_nothing_else() {
    let service = Service::default();
    let mut first = task(calling(&service, Async::in_flight(3), ErrorPolicy::Fail));
    let all = [("a", 1), ("b", 2), ("c", 3)];
    first.enqueue(0, records(&all));
    turn_at(&mut first, 0);
    service.answer("orders-0-0", 1, Ok(10));
    service.answer("orders-0-2", 1, Ok(30));
    assert_eq!(turn_at(&mut first, 0), [10]);
    let resume = commit(&mut first);
    assert_eq!(resume.offset, 1);
    drop(first);
    assert_eq!(service.open(), [""; 0], "no call waits for an answer any more");
    let mut second = task(calling(&service, Async::in_flight(3), ErrorPolicy::Fail));
    second.resume(&[resume], 0).expect("resumes");
    second.enqueue(0, records(&all));
    turn_at(&mut second, 0);
    assert_eq!(service.open(), ["orders-0-1", "orders-0-2"]);
}

#[test]
fn failed_calls_are_retried_after_a_pause_and_then_obey_the_policy() {
    let service = Service::default();
    let retry = Async::in_flight(2).retry(2, Backoff::fixed(Duration::from_secs(1)));
    let mut task = task(calling(&service, retry, ErrorPolicy::Skip));
    task.enqueue(0, records(&[("a", 1), ("b", 2), ("c", 3)]));
    turn_at(&mut task, 0);
    service.answer("orders-0-1", 1, Ok(20));
    for attempt in 1..=3 {
        let now = i64::from(attempt - 1) * 1_000;
        service.answer("orders-0-0", attempt, Err("away".to_owned()));
        let sent = turn_at(&mut task, now);
        if attempt < 3 {
            assert_eq!(sent, [0; 0]);
            assert_eq!(task.next_wakeup(), Some(now + 1_000));
            // Another call can run during the pause.
            assert!(service.open().contains(&"orders-0-2".to_owned()));
            turn_at(&mut task, now + 1_000);
        } else {
            (0..2).for_each(|_| drop(turn_at(&mut task, now)));
            assert_eq!(task.metrics().skipped, 1);
        }
    }
    assert_eq!(commit(&mut task).offset, 2);
}

#[test]
fn a_call_that_takes_too_long_fails() {
    let service = Service::default();
    let limited = Async::in_flight(2).timeout(Duration::from_secs(5));
    let mut task = task(calling(&service, limited, ErrorPolicy::dead_letter("dead")));
    task.enqueue(0, records(&[("a", 1), ("b", 2)]));
    turn_at(&mut task, 0);
    assert_eq!(task.next_wakeup(), Some(5_000));
    service.answer("orders-0-1", 1, Ok(20));
    assert_eq!(turn_at(&mut task, 4_999), [0; 0]);
    let mut effects = Effects::new();
    let failed = task.advance(5_000, &mut effects).expect("is dealt with");
    assert!(failed[0].to_string().contains("map_async ask: it has not returned within 5s"));
    let topics: Vec<_> = effects.iter().map(|effect| effect.topic.to_string()).collect();
    assert_eq!(topics, ["dead"]);
    assert_eq!(turn_at(&mut task, 5_000), [20]);
    assert_eq!(service.open(), [""; 0], "its future is dropped");
}

#[test]
fn calls_of_one_key_can_be_serialized() {
    let service = Service::default();
    let mut task = task(calling(&service, Async::in_flight(9).serial_per_key(), ErrorPolicy::Fail));
    task.enqueue(0, records(&[("a", 1), ("a", 2), ("b", 3), ("a", 4)]));
    turn_at(&mut task, 0);
    assert_eq!(service.open(), ["orders-0-0", "orders-0-2"]);
    service.answer("orders-0-0", 1, Ok(10));
    assert_eq!(turn_at(&mut task, 0), [10]);
    assert_eq!(service.open(), ["orders-0-1", "orders-0-2"]);
    service.answer("orders-0-1", 1, Ok(20));
    assert_eq!(turn_at(&mut task, 0), [20]);
    assert_eq!(service.open(), ["orders-0-2", "orders-0-3"]);
}

#[test]
fn panics_and_refusing_operators_fail_only_their_record() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    app.stream(&orders())
        .try_map_values(|value| if value == 1 { Err("refused") } else { Ok(value) })
        .map_async("ask", Async::in_flight(8), |call: Call<String, i64>| async move {
            assert_ne!(call.record.value, 2, "a bug");
            if call.record.value == 3 { Err("failed".to_owned()) } else { Ok(call.record.value) }
        })
        .try_map_values(|value| if value == 4 { Err("too large") } else { Ok(value) })
        .to(&out());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in 1..=6 {
        test.send(&orders(), "k".into(), value).expect("is dealt with");
    }
    let values: Vec<_> = test.take(&out()).expect("decodes").iter().map(|sent| sent.1).collect();
    assert_eq!(values, [5, 6]);
    assert_eq!(test.metrics().skipped, 4, "{:?}", test.failed());
    for (failed, word) in test.failed().iter().zip(["refused", "a bug", "failed", "too large"]) {
        assert!(failed.contains(word), "{failed}");
    }
}

#[test]
fn operators_before_and_tables_after_calls_work_as_usual() {
    let counts = Table::<String, u64>::new("counts");
    let app = Builder::new("t");
    app.stream(&orders())
        .flat_map_values(|value| 0..value)
        .map_async("ask", Async::in_flight(8), |call: Call<String, i64>| async move {
            Ok::<_, String>(call.id.to_string())
        })
        .group_by_key()
        .count(&counts)
        .to(&Topic::new("counted"));
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [2, 0, 3] {
        test.send(&orders(), "k".into(), value).expect("processed");
    }
    assert_eq!(test.table(&counts, &"k".into()).expect("reads"), Some(5));
    test.crash().expect("restores");
    test.send(&orders(), "k".into(), 1).expect("processed");
    assert_eq!(test.table(&counts, &"k".into()).expect("reads"), Some(6));
}

#[test]
fn a_record_that_fails_in_one_part_leaves_nothing_of_the_others() {
    let app = Builder::new("t");
    app.on_error(ErrorPolicy::Skip);
    app.stream(&orders())
        .flat_map_values(|value| [value, -value])
        .map_async("ask", Async::in_flight(8), |call: Call<String, i64>| async move {
            Ok::<_, String>(call.record.value)
        })
        .try_map_values(|value| if value == -2 { Err("refused") } else { Ok(value) })
        .to(&out());
    let mut test = TopologyTest::new(app.build().expect("valid"));
    for value in [1, 2, 3] {
        test.send(&orders(), "k".into(), value).expect("is dealt with");
    }
    let values: Vec<_> = test.take(&out()).expect("decodes").iter().map(|sent| sent.1).collect();
    assert_eq!(values, [1, -1, 3, -3]);
}

#[test]
fn idle_windows_wait_for_calls_in_flight() {
    let service = Service::default();
    let asked = service.clone();
    let app = Builder::new("t");
    let windows = Tumbling::of(Duration::from_secs(60)).idle_after(Duration::from_secs(5));
    app.stream(&orders())
        .map_async("ask", Async::in_flight(8), move |call: Call<_, i64>| {
            asked.clone().ask(call.id.to_string(), call.attempt)
        })
        .group_by_key()
        .window(windows)
        .count(&Table::new("counts"))
        .closed()
        .map(|window, count| (window.key, count as i64))
        .to(&out());
    let mut task = task(app.build().expect("valid"));
    task.enqueue(0, records(&[("a", 1), ("a", 2)]));
    turn_at(&mut task, 0);
    service.answer("orders-0-0", 1, Ok(10));
    turn_at(&mut task, 0);
    for now in [10_000, 70_000, 200_000] {
        task.observe(0, true, false);
        assert_eq!(turn_at(&mut task, now), [0; 0], "its second record is in flight");
    }
    service.answer("orders-0-1", 1, Ok(20));
    let closed: Vec<_> =
        [200_000, 300_000, 400_000].into_iter().flat_map(|now| turn_at(&mut task, now)).collect();
    assert_eq!(closed, [2]);
}

#[test]
fn after_stateful_operators_it_is_refused_with_the_line_to_write() {
    async fn ask(call: Call<String, u64>) -> Result<u64, String> {
        Ok(call.record.value)
    }
    let app = Builder::new("t");
    let counts = app.stream(&orders()).group_by_key().count(&Table::new("counts")).updates();
    counts.map_async("ask", Async::in_flight(8), ask).to(&Topic::new("out"));
    let error = app.build().err().expect("refused").to_string();
    assert!(error.contains(".repartition(\"step-"), "{error}");
    assert!(error.contains(").map_async(\"ask\")"), "{error}");

    let app = Builder::new("t");
    let customers = app.stream(&Topic::<String, u64>::new("customers")).to_table(&Table::new("c"));
    let joined = app
        .stream(&orders())
        .left_join_table(&customers, |_, _, customer| customer.copied().unwrap_or_default());
    joined.map_async("ask", Async::in_flight(8), ask).to(&Topic::new("out"));
    let error = app.build().err().expect("refused").to_string();
    assert!(error.contains("map_async(\"ask\") needs a topic before it"), "{error}");
}

/// Compared with a model that calls one after the other: failing and slow calls, restarts, retries.
#[test]
fn random_answers_and_restarts_match_serial_calls() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let service = Service::default();
        let settings = Async::in_flight(1 + dice.below(5))
            .retry(1, Backoff::fixed(Duration::from_millis(dice.below(3) as u64)));
        let serial = dice.below(2) == 0;
        let settings = if serial { settings.serial_per_key() } else { settings };
        let keys = ["a", "b", "c"];
        let all: Vec<_> = (0..20).map(|value| (keys[dice.below(3)], value)).collect();
        let poisoned: BTreeSet<i64> = (0..20).filter(|_| dice.below(6) == 0).collect();
        let topology = || calling(&service, settings.clone(), ErrorPolicy::Skip);
        let mut running = task(topology());
        running.enqueue(0, records(&all));
        let mut sent = Vec::new();
        let mut done = 0;
        for now in 0..2_000 {
            let sent_now = turn_at(&mut running, now);
            if dice.below(30) == 0 {
                // The transaction was aborted, or the process killed: nothing of this turn counts.
                let metadata = String::new();
                let resume = Resume { offset: done, metadata, committed: true };
                running = task(topology());
                running.resume(&[resume], now).expect("resumes");
                running.enqueue(0, records(&all));
                continue;
            }
            sent.extend(sent_now);
            let resume = commit(&mut running);
            done = resume.offset;
            if done == 20 {
                break;
            }
            let open = service.with(|requests| requests.open.keys().cloned().collect::<Vec<_>>());
            if serial {
                let of = |id: &str| -> usize {
                    id.rsplit('-').next().and_then(|n| n.parse().ok()).expect("an offset")
                };
                let keys: BTreeSet<_> = open.iter().map(|(id, _)| all[of(id)].0).collect();
                assert_eq!(keys.len(), open.len(), "seed {seed}: one call of each key: {open:?}");
            }
            for (id, attempt) in open {
                if dice.below(3) == 0 {
                    let offset: i64 = id.rsplit('-').next().expect("an offset").parse().expect("n");
                    let fails = poisoned.contains(&offset) || (attempt == 1 && dice.below(4) == 0);
                    let answer = if fails { Err("no".to_owned()) } else { Ok(offset * 10) };
                    service.answer(&id, attempt, answer);
                }
            }
        }
        assert_eq!(done, 20, "seed {seed}");
        let model: Vec<_> =
            (0..20).filter(|value| !poisoned.contains(value)).map(|value| value * 10).collect();
        assert_eq!(sent, model, "seed {seed}");
    }
}

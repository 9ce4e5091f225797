//! Waiting records get their share of a task's time and no more. Under at-least-once, the leftovers
//! of a commit that failed half-way neither lose a record nor block a key.

use std::sync::Arc;
use std::time::Duration;

use headwater_streams_core::{
    Backoff, Builder, Effects, Entries, ErrorPolicy, OwnedBatch, OwnedRecord, ProcessError, Resume,
    Retry, Store, StoreBatch, StoreProvider, TableBatch, Task, TaskId, Topic, Topology,
};
use headwater_testkit::faults::SurvivingStores;

const SECOND: Duration = Duration::from_secs(1);
const TABLE: &str = "in-retries";

fn retry() -> Retry {
    ErrorPolicy::retry(3, Backoff::fixed(SECOND))
}

/// Values say until when the service that a record needs is away.
fn topology(retry: Retry) -> Topology {
    let app = Builder::new("t");
    app.on_error(retry.then(ErrorPolicy::Fail));
    app.stream(&Topic::<String, i64>::new("in"))
        .process::<String, i64>("call")
        .each(|record, context| match context.now() < record.value {
            true => Err(ProcessError::new("away")),
            false => context.forward(record),
        })
        .to(&Topic::new("out"));
    app.build().expect("valid")
}

fn store(stores: &SurvivingStores) -> Box<dyn Store> {
    stores.open("0-0", &[TABLE.into()]).expect("opens")
}

/// A task over the stored tables, from an offset on, at a time.
fn task(retry: Retry, stores: &SurvivingStores, offset: i64, now: i64) -> Task {
    let id = TaskId { sub_topology: 0, partition: 0 };
    let mut task = Task::new(Arc::new(topology(retry)), id, store(stores));
    let resume = Resume { offset, metadata: String::new(), committed: true };
    task.resume(&[resume], now).expect("resumes");
    task.observe(0, true, false);
    task
}

fn records(values: &[(&str, i64)]) -> Box<OwnedBatch> {
    let record = |(offset, (key, value)): (i64, &(&str, i64))| OwnedRecord {
        offset,
        key: Some(key.as_bytes().into()),
        value: Some(value.to_be_bytes()[..].into()),
        ..OwnedRecord::default()
    };
    Box::new(OwnedBatch::from((0..).zip(values).map(record).collect::<Vec<_>>()))
}

/// The keys of what a step sent to `out`.
fn sent(effects: &mut Effects) -> Vec<String> {
    let sent = effects.iter().filter(|effect| &**effect.topic == "out");
    let keys = sent.map(|effect| String::from_utf8_lossy(effect.key.unwrap_or(b"")).into_owned());
    let keys = keys.collect();
    effects.clear();
    keys
}

fn step(task: &mut Task, now: i64, records_max: usize) -> Vec<String> {
    let mut effects = Effects::new();
    task.advance(now, &mut effects).expect("advances");
    task.step(now, records_max, &mut effects).expect("processed");
    sent(&mut effects)
}

fn commit(task: &mut Task) {
    task.prepare_commit(&mut Effects::new()).expect("commits");
    task.committed(&[Some(1)], 0).expect("applied");
}

#[test]
fn a_backlog_leaves_half_of_the_time_to_new_records() {
    for records_max in [1, 2, 7, 50] {
        let mut task = task(retry(), &SurvivingStores::new(), 0, 0);
        let old = vec![("old", 1_000); 100];
        let all = [old, vec![("new", 0); 100]].concat();
        task.enqueue(0, records(&all));
        // Failed records wait, and the others are still in the queue.
        assert!(step(&mut task, 0, 100).is_empty());
        assert_eq!((task.metrics().waiting, task.next_wakeup()), (100, Some(1_000)));
        let mut out = Vec::new();
        while out.len() < 60 {
            out.extend(step(&mut task, 1_000, records_max));
        }
        let of_new = out.iter().filter(|key| *key == "new").count();
        assert!(
            of_new.abs_diff(out.len() / 2) <= 1,
            "{of_new} of {} with {records_max}",
            out.len()
        );
    }
}

#[test]
fn a_backlog_alone_is_processed_at_once_and_then_the_task_sleeps() {
    let mut task = task(retry().hold_key(), &SurvivingStores::new(), 0, 0);
    task.enqueue(0, records(&[("a", 1_000), ("a", 0), ("a", 0), ("a", 0)]));
    assert!(step(&mut task, 0, 10).is_empty());
    assert!(!task.is_ready(), "nothing to do before the second is over");
    assert_eq!(step(&mut task, 1_000, 3), ["a"; 3]);
    assert!(task.is_ready());
    assert_eq!(step(&mut task, 1_000, 3), ["a"; 1]);
    assert!(!task.is_ready());
    assert_eq!((task.metrics().waiting, task.next_wakeup()), (0, None));
}

#[test]
fn records_with_uncommitted_offsets_are_read_again_and_do_not_wait_twice() {
    for holds in [false, true] {
        let policy = || if holds { retry().hold_key() } else { retry() };
        let stores = SurvivingStores::new();
        let all = [("a", 1_000), ("a", 0), ("b", 1_000)];
        let mut first = task(policy(), &stores, 0, 0);
        first.enqueue(0, records(&all));
        let before = step(&mut first, 0, 10);
        assert_eq!(before.len(), usize::from(!holds));
        commit(&mut first);
        drop(first);
        // The tables are there, the offsets are not.
        let mut second = task(policy(), &stores, 0, 500);
        assert_eq!(second.metrics().waiting, 0);
        second.enqueue(0, records(&all));
        let again = step(&mut second, 500, 10);
        assert_eq!(again, before);
        commit(&mut second);
        let late = step(&mut second, 1_500, 10);
        assert_eq!(late, if holds { vec!["a", "a", "b"] } else { vec!["a", "b"] });
        assert_eq!(second.metrics().waiting, 0);
    }
}

/// Removes the rows whose keys begin with this byte.
fn lose(stores: &SurvivingStores, kind: u8) {
    let mut store = store(stores);
    let mut keys = Vec::new();
    let mut note = |key: &[u8], _: &[u8]| {
        keys.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    store.scan(0, &[kind], Some(&[kind + 1]), &mut note).expect("reads");
    assert!(!keys.is_empty());
    let mut entries = Entries::new();
    keys.iter().for_each(|key| entries.push(key, None));
    let tables = vec![TableBatch { table: 0, entries, position: Some(1) }];
    store.apply(&StoreBatch { tables, at: 0 }).expect("applied");
}

#[test]
fn rows_without_index_rows_are_found() {
    for lost in [&[1][..], &[2], &[1, 2]] {
        let stores = SurvivingStores::new();
        let mut first = task(retry().hold_key(), &stores, 0, 0);
        first.enqueue(0, records(&[("a", 1_000), ("a", 0), ("b", 1_000)]));
        assert!(step(&mut first, 0, 10).is_empty());
        commit(&mut first);
        drop(first);
        lost.iter().for_each(|kind| lose(&stores, *kind));
        let mut second = task(retry().hold_key(), &stores, 3, 500);
        assert_eq!(second.metrics().waiting, 3);
        assert_eq!(step(&mut second, 1_000, 10), ["a", "a", "b"], "without {lost:?}");
    }
}

#[test]
fn index_rows_without_their_rows_have_no_effect() {
    let stores = SurvivingStores::new();
    let mut first = task(retry().hold_key(), &stores, 0, 0);
    first.enqueue(0, records(&[("a", 1_000), ("b", 1_000)]));
    assert!(step(&mut first, 0, 10).is_empty());
    commit(&mut first);
    drop(first);
    lose(&stores, 0);
    let mut second = task(retry().hold_key(), &stores, 0, 500);
    let all = [("c", 2_000), ("a", 0), ("b", 2_000), ("b", 0)];
    second.enqueue(0, records(&all));
    assert_eq!(step(&mut second, 500, 10), ["a"]);
    assert!(step(&mut second, 1_000, 10).is_empty());
    assert_eq!(step(&mut second, 2_500, 10), ["c", "b", "b"]);
    assert_eq!((second.metrics().waiting, second.next_wakeup()), (0, None));
}

#[test]
fn hold_key_may_change_between_two_starts() {
    let stores = SurvivingStores::new();
    let mut held = task(retry().hold_key(), &stores, 0, 0);
    held.enqueue(0, records(&[("a", 1_000), ("a", 0)]));
    assert!(step(&mut held, 0, 10).is_empty());
    commit(&mut held);
    drop(held);
    let mut free = task(retry(), &stores, 2, 500);
    let all = [("x", 0), ("x", 0), ("a", 1_200), ("a", 0)];
    free.enqueue(0, records(&all));
    assert_eq!(step(&mut free, 500, 10), ["a"], "not held any more");
    commit(&mut free);
    drop(free);
    let mut held = task(retry().hold_key(), &stores, 4, 900);
    assert_eq!(held.metrics().waiting, 3);
    let all = [("x", 0), ("x", 0), ("x", 0), ("x", 0), ("a", 0), ("b", 0)];
    held.enqueue(0, records(&all));
    assert_eq!(step(&mut held, 900, 10), ["b"]);
    assert_eq!(step(&mut held, 1_000, 10), ["a", "a"]);
    assert_eq!(step(&mut held, 1_500, 10), ["a", "a"]);
    assert_eq!((held.metrics().waiting, held.next_wakeup()), (0, None));
}

//! A task processes its inputs merged by timestamp, whatever was fetched when.

#![allow(unreachable_pub, dead_code, reason = "a module of a test program")]

mod bare;

use std::sync::{Arc, Mutex};

use headwater_streams_core::{
    Builder, Effects, ErrorPolicy, OwnedBatch, OwnedRecord, Task, Timestamp, Topic, Topology,
};
use proptest::prelude::*;

type Seen = Arc<Mutex<Vec<(usize, i64)>>>;

/// Notes what it processes of `inputs` topics: the number of the input and the record's value.
fn topology(inputs: usize, extracts: bool, seen: &Seen) -> Topology {
    let app = Builder::new("merge");
    app.on_error(ErrorPolicy::Skip);
    let out = Topic::<String, i64>::new("out");
    let stream = |number: usize| {
        let topic = Topic::<String, i64>::new(format!("in-{number}"));
        let consumed = match extracts {
            true => topic.consumed().timestamps(|record| record.value),
            false => topic.consumed(),
        };
        let seen = Arc::clone(seen);
        app.stream(consumed)
            .peek(move |_, value| seen.lock().expect("no panic").push((number, *value)))
    };
    match inputs {
        2 => stream(0).merge(stream(1)).to(&out),
        _ => stream(0).merge(stream(1)).merge(stream(2)).to(&out),
    }
    app.build().expect("valid")
}

fn record(offset: usize, value: i64, timestamp: Timestamp) -> OwnedRecord {
    OwnedRecord {
        offset: offset as i64,
        timestamp,
        key: Some(b"k"[..].into()),
        value: Some(value.to_be_bytes().into()),
        ..OwnedRecord::default()
    }
}

/// The rule: the oldest of the heads; at equal times, that of the first input.
fn merged(inputs: &[Vec<i64>]) -> Vec<(usize, i64)> {
    let mut next = vec![0; inputs.len()];
    let mut merged = Vec::new();
    loop {
        let heads = (0..inputs.len()).filter_map(|n| Some((*inputs[n].get(next[n])?, n)));
        let Some((time, number)) = heads.min() else { return merged };
        next[number] += 1;
        merged.push((number, time));
    }
}

/// Feeds the inputs in portions, as `fetches` says, and steps after each.
fn fed(
    inputs: &[Vec<i64>],
    fetches: &[(usize, usize, usize)],
    extracts: bool,
) -> Vec<(usize, i64)> {
    let seen = Seen::default();
    let mut task = bare::task(topology(inputs.len(), extracts, &seen));
    let mut next = vec![0; inputs.len()];
    let all = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let rest = (0..inputs.len()).map(|number| (number, all, usize::MAX));
    for (number, count, steps) in fetches.iter().copied().chain(rest) {
        let number = number % inputs.len();
        let end = inputs[number].len().min(next[number] + count);
        let records = (next[number]..end).map(|offset| {
            let value = inputs[number][offset];
            // The raw time says the opposite of the extracted one.
            record(offset, value, if extracts { 1_000 - value } else { value })
        });
        task.enqueue(number, Box::new(OwnedBatch::from(records.collect::<Vec<_>>())));
        next[number] = end;
        for (input, next) in next.iter().enumerate() {
            let at_end = *next == inputs[input].len();
            task.observe(input, at_end, !at_end);
        }
        let mut effects = Effects::new();
        task.step(0, steps.max(1), &mut effects).expect("no record stops it");
        while steps == usize::MAX && task.is_ready() {
            task.step(0, usize::MAX, &mut effects).expect("no record stops it");
        }
    }
    let seen = seen.lock().expect("no panic");
    seen.clone()
}

proptest! {
    #[test]
    fn the_order_of_fetches_does_not_matter(
        inputs in prop::collection::vec(prop::collection::vec(0..30_i64, 0..20), 2..4),
        fetches in prop::collection::vec((0..3_usize, 0..6_usize, 1..9_usize), 0..30),
        extracts: bool,
    ) {
        prop_assert_eq!(fed(&inputs, &fetches, extracts), merged(&inputs));
    }
}

fn step(task: &mut Task) -> usize {
    let mut processed = 0;
    loop {
        let step = task.step(0, 100, &mut Effects::new()).expect("no record stops it");
        processed += step.processed;
        if !step.more {
            return processed;
        }
    }
}

fn batch(records: Vec<OwnedRecord>) -> Box<OwnedBatch> {
    Box::new(OwnedBatch::from(records))
}

#[test]
fn an_empty_queue_is_not_an_idle_input() {
    let seen = Seen::default();
    let mut task = bare::task(topology(2, false, &seen));
    (0..2).for_each(|input| task.observe(input, false, true));
    task.enqueue(1, batch(vec![record(0, 7, 7)]));
    assert_eq!((step(&mut task), task.is_ready()), (0, false), "the first may have an older one");
    assert_eq!(task.missing().collect::<Vec<_>>(), [0]);
    task.enqueue(0, batch(vec![record(0, 5, 5)]));
    task.observe(1, true, false);
    assert_eq!(step(&mut task), 1, "the oldest, and then the first may have more again");
    task.observe(0, true, false);
    assert_eq!(step(&mut task), 1);
    assert_eq!(*seen.lock().expect("no panic"), [(0, 5), (1, 7)]);
}

#[test]
fn an_error_at_a_head_blocks_nothing() {
    let seen = Seen::default();
    let mut task = bare::task(topology(2, true, &seen));
    let undecodable = OwnedRecord { value: Some(b"x"[..].into()), ..record(0, 0, 900) };
    let far = i64::MAX - 5;
    task.enqueue(0, batch(vec![undecodable, record(1, far, 0), record(2, -1, 0), record(3, 4, 0)]));
    task.enqueue(1, batch(vec![record(0, 6, 0), record(1, 2, 0)]));
    (0..2).for_each(|input| task.observe(input, true, false));
    step(&mut task);
    assert_eq!(task.metrics().skipped, 3);
    assert_eq!(
        *seen.lock().expect("no panic"),
        [(1, 6), (1, 2), (0, 4)],
        "900 is the undecodable one's time"
    );
}

#[test]
fn a_panic_while_the_turn_is_decided_fails_only_its_record() {
    let app = Builder::new("merge");
    app.on_error(ErrorPolicy::Skip);
    let topics = ["a", "b"].map(Topic::<String, i64>::new);
    let seen = Seen::default();
    let [a, b] = topics.map(|topic| {
        let consumed =
            topic.consumed().timestamps(|record: &headwater_streams_core::Record<_, _>| {
                assert!(record.value != 3, "three");
                record.value
            });
        let seen = Arc::clone(&seen);
        app.stream(consumed).peek(move |_, value| seen.lock().expect("no panic").push((0, *value)))
    });
    a.merge(b).to(&Topic::new("out"));
    let mut task = bare::task(app.build().expect("valid"));
    task.enqueue(0, batch(vec![record(0, 1, 1), record(1, 3, 3), record(2, 4, 4)]));
    task.enqueue(1, batch(vec![record(0, 2, 2), record(1, 5, 5)]));
    (0..2).for_each(|input| task.observe(input, true, false));
    step(&mut task);
    let seen: Vec<_> = seen.lock().expect("no panic").iter().map(|(_, value)| *value).collect();
    assert_eq!((seen, task.metrics().skipped), (vec![1, 2, 4, 5], 1));
}

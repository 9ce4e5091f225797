//! The data plane of a worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use runtime::transport::Fetcher;
use streams_core::{OwnedRecord, TopicPartition};

use super::env::{Env, at, must};
use super::process::{GroupProcess, alone};
use super::records::{TICK, by_partition, numbered, offsets, texts};

/// A member that owns all `partitions` partitions of a new topic, each with the same records.
fn with_records(env: &Env, partitions: i32, count: usize) -> (Arc<str>, GroupProcess) {
    let topic = env.topic("in", partitions);
    for partition in 0..partitions {
        env.write(&topic, partition, numbered(count));
    }
    let process = alone(env, "group", &[&topic], partitions as usize);
    (topic, process)
}

/// Polls until there are `count` records of each of `partitions`.
fn fetch(
    env: &Env,
    process: &mut GroupProcess,
    fetcher: &mut dyn Fetcher,
    partitions: &[&TopicPartition],
    count: usize,
) -> BTreeMap<TopicPartition, Vec<OwnedRecord>> {
    let mut fetched = BTreeMap::<TopicPartition, Vec<OwnedRecord>>::new();
    env.eventually(&format!("{count} records of each of {partitions:?}"), || {
        process.step();
        for (partition, records) in by_partition(must("poll", fetcher.poll(TICK, 100))) {
            fetched.entry(partition).or_default().extend(records);
        }
        let enough = |p: &&TopicPartition| fetched.get(p).is_some_and(|r| r.len() >= count);
        partitions.iter().all(enough).then_some(())
    });
    fetched
}

pub(super) fn begins_at_the_given_offset(env: &Env) {
    let (topic, mut process) = with_records(env, 2, 50);
    let first = at(&topic, 0);
    let second = at(&topic, 1);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&first, Some(40)));
    must("add", fetcher.add(&second, Some(47)));
    let fetched = fetch(env, &mut process, &mut *fetcher, &[&first, &second], 3);
    let mut all = fetched;
    if all[&first].len() < 10 {
        let rest = fetch(env, &mut process, &mut *fetcher, &[&first], 10 - all[&first].len());
        for (partition, records) in rest {
            all.entry(partition).or_default().extend(records);
        }
    }
    assert_eq!(offsets(&all[&first]), (40..50).collect::<Vec<_>>());
    assert_eq!(offsets(&all[&second]), [47, 48, 49]);
}

pub(super) fn begins_at_the_beginning(env: &Env) {
    let (topic, mut process) = with_records(env, 1, 30);
    let partition = at(&topic, 0);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, None));
    let fetched = fetch(env, &mut process, &mut *fetcher, &[&partition], 30);
    assert_eq!(texts(&fetched[&partition]), numbered(30));
}

pub(super) fn goes_on_with_new_records(env: &Env) {
    let (topic, mut process) = with_records(env, 1, 2);
    let partition = at(&topic, 0);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, Some(2)));
    for round in 0..3 {
        let text = format!("round {round}");
        env.write(&topic, 0, [&text]);
        let fetched = fetch(env, &mut process, &mut *fetcher, &[&partition], 1);
        assert_eq!(texts(&fetched[&partition]), [text]);
    }
}

pub(super) fn rewinding_delivers_nothing_stale(env: &Env) {
    let (topic, mut process) = with_records(env, 1, 5000);
    let partition = at(&topic, 0);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, None));
    fetch(env, &mut process, &mut *fetcher, &[&partition], 10);
    for start in [4000, 10, 4990, 0] {
        must("rewind", fetcher.add(&partition, Some(start)));
        let fetched = fetch(env, &mut process, &mut *fetcher, &[&partition], 5);
        let got = offsets(&fetched[&partition]);
        let expected: Vec<_> = (start..start + got.len() as i64).collect();
        assert_eq!(got, expected, "after going to {start}");
    }
}

pub(super) fn pausing_loses_nothing(env: &Env) {
    let (topic, mut process) = with_records(env, 2, 1000);
    let paused = at(&topic, 0);
    let other = at(&topic, 1);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&paused, None));
    let before = fetch(env, &mut process, &mut *fetcher, &[&paused], 10);
    must("pause", fetcher.pause(&paused));
    must("add", fetcher.add(&other, None));
    let meanwhile = fetch(env, &mut process, &mut *fetcher, &[&other], 1000);
    assert!(!meanwhile.contains_key(&paused), "delivered although paused");
    must("resume", fetcher.resume(&paused));
    let mut all = before[&paused].clone();
    let rest = fetch(env, &mut process, &mut *fetcher, &[&paused], 1000 - all.len());
    all.extend(rest[&paused].iter().cloned());
    assert_eq!(offsets(&all), (0..1000).collect::<Vec<_>>(), "resumes at its position");
}

pub(super) fn removed_partition_delivers_nothing(env: &Env) {
    let (topic, mut process) = with_records(env, 2, 500);
    let removed = at(&topic, 0);
    let other = at(&topic, 1);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&removed, None));
    fetch(env, &mut process, &mut *fetcher, &[&removed], 1);
    must("remove", fetcher.remove(&removed));
    must("add", fetcher.add(&other, None));
    let fetched = fetch(env, &mut process, &mut *fetcher, &[&other], 500);
    assert!(!fetched.contains_key(&removed), "delivered after it was removed");
    must("add again", fetcher.add(&removed, Some(499)));
    let fetched = fetch(env, &mut process, &mut *fetcher, &[&removed], 1);
    assert_eq!(offsets(&fetched[&removed]), [499]);
}

pub(super) fn waker_ends_a_waiting_poll(env: &Env) {
    let topic = env.topic("in", 1);
    let mut process = alone(env, "group", &[&topic], 1);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&at(&topic, 0), None));
    env.meanwhile(|| process.step());
    let waker = fetcher.waker();
    let started = Instant::now();
    let waking = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        waker();
    });
    let fetched = must("poll", fetcher.poll(env.patience, 100));
    assert!(fetched.is_empty(), "nothing was there: {fetched:?}");
    assert!(started.elapsed() < env.patience / 2, "slept through it: {:?}", started.elapsed());
    assert!(waking.join().is_ok());
}

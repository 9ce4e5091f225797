//! Reading single partitions outside any group.

use std::time::{Duration, Instant};

use super::env::{Env, at, must};
use super::records::{TICK, by_partition, numbered, offsets, send, texts};

pub(super) fn bounds_are_start_and_end(env: &Env) {
    let topic = env.topic("in", 2);
    let mut reader = env.reader(true);
    let mut bounds = |p| env.retry("bounds", || reader.bounds(&at(&topic, p), env.patience));
    assert_eq!(bounds(0), (0, 0));
    env.write(&topic, 0, numbered(5));
    assert_eq!((bounds(0), bounds(1)), ((0, 5), (0, 0)));
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 1, ["open"]);
    must("flush", producer.flush(env.patience));
    assert_eq!(bounds(1), (0, 1), "the end includes uncommitted records");
    must("commit", producer.commit(env.patience));
    // A broker writes the marker after it has responded.
    env.eventually("the end includes the marker", || (bounds(1) == (0, 2)).then_some(()));
}

pub(super) fn reads_from_the_given_offset(env: &Env) {
    let topic = env.topic("in", 1);
    env.write(&topic, 0, numbered(100));
    let partition = at(&topic, 0);
    for start in [0, 1, 57, 99, 100] {
        let (records, position) = env.read_from(&partition, start, true);
        assert_eq!(offsets(&records), (start..100).collect::<Vec<_>>(), "from {start}");
        assert_eq!(position, 100);
    }
    let mut reader = env.reader(true);
    assert_eq!(reader.position(&partition), None, "not added");
    must("add", reader.add(&partition, 40));
    must("remove", reader.remove(&partition));
    env.meanwhile(|| {
        let fetched = must("poll", reader.poll(TICK, 10));
        assert!(fetched.is_empty(), "delivered after it was removed: {fetched:?}");
    });
}

pub(super) fn several_partitions_at_once(env: &Env) {
    let topic = env.topic("in", 3);
    for partition in 0..3 {
        env.write(&topic, partition, numbered(200 * (partition as usize + 1)));
    }
    let mut reader = env.reader(true);
    for partition in 0..3 {
        must("add", reader.add(&at(&topic, partition), 0));
    }
    let mut seen = [vec![], vec![], vec![]];
    env.eventually("all three are read", || {
        for (from, records) in by_partition(must("poll", reader.poll(TICK, 50))) {
            seen[from.partition as usize].extend(texts(&records));
        }
        (0..3)
            .all(|p| reader.position(&at(&topic, p)) == Some(200 * (i64::from(p) + 1)))
            .then_some(())
    });
    for (partition, texts) in seen.iter().enumerate() {
        assert_eq!(*texts, numbered(200 * (partition + 1)), "partition {partition}");
    }
}

/// Longer than a reader waits before it doubts that nothing comes.
pub(super) fn waits_long_for_an_open_transaction(env: &Env) {
    let topic = env.topic("in", 1);
    let partition = at(&topic, 0);
    env.write(&topic, 0, numbered(3));
    let mut producer = env.init(Some(env.name("t")), Duration::from_secs(60));
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["held back"]);
    must("flush", producer.flush(env.patience));
    env.write(&topic, 0, ["after it"]);
    let mut reader = env.reader(true);
    must("add", reader.add(&partition, 0));
    let mut seen = Vec::new();
    let until = Instant::now() + Duration::from_secs(7);
    while Instant::now() < until {
        for (_, records) in by_partition(must("poll", reader.poll(TICK, 10))) {
            seen.extend(texts(&records));
        }
        assert!(seen.len() <= 3, "more than what is committed: {seen:?}");
    }
    must("commit", producer.commit(env.patience));
    env.eventually("the rest is read", || {
        for (_, records) in by_partition(must("poll", reader.poll(TICK, 10))) {
            seen.extend(texts(&records));
        }
        (reader.position(&partition)? >= 5).then_some(())
    });
    let mut all = numbered(3);
    all.extend(["held back".to_owned(), "after it".to_owned()]);
    assert_eq!(seen, all);
}

pub(super) fn position_passes_over_gaps(env: &Env) {
    let topic = env.topic("in", 1);
    let partition = at(&topic, 0);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, numbered(300));
    must("flush", producer.flush(env.patience));
    must("abort", producer.abort(env.patience));
    // Only aborted records and a marker: nothing is delivered, but everything is read.
    env.eventually("the position is at the end", || {
        let (records, position) = env.read_from(&partition, 0, true);
        assert!(records.is_empty());
        (position == 301).then_some(())
    });
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["open"]);
    must("flush", producer.flush(env.patience));
    let (records, position) = env.read_from(&partition, 0, true);
    assert!(records.is_empty());
    assert_eq!(position, 301, "not into the open transaction");
    must("commit", producer.commit(env.patience));
    env.committed_values(&topic, 0, 1);
    let (records, position) = env.read_from(&partition, 0, true);
    assert_eq!((offsets(&records), position), (vec![301], 303));
}

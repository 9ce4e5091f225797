//! What a fetcher knows about the ends of its partitions, on which tasks with several inputs rely.

use std::sync::Arc;

use runtime::transport::{FetchProgress, Fetcher};
use streams_core::TopicPartition;

use super::env::{Env, at, must};
use super::process::{GroupProcess, alone};
use super::records::{TICK, by_partition, numbered, send, texts};

/// A member that owns the only partition of a new topic with `count` records.
fn with_records(env: &Env, count: usize) -> (Arc<str>, TopicPartition, GroupProcess) {
    let topic = env.topic("in", 1);
    env.write(&topic, 0, numbered(count));
    let process = alone(env, "group", &[&topic], 1);
    let partition = at(&topic, 0);
    (topic, partition, process)
}

/// Polls until the fetcher is at the end; returns everything delivered until then.
fn until_the_end(
    env: &Env,
    process: &mut GroupProcess,
    fetcher: &mut dyn Fetcher,
    partition: &TopicPartition,
    records_max: usize,
) -> Vec<String> {
    let mut seen = Vec::new();
    env.eventually("the end is known", || {
        process.step();
        for (_, records) in by_partition(must("poll", fetcher.poll(TICK, records_max))) {
            seen.extend(texts(&records));
        }
        fetcher.is_at_end(partition).then_some(())
    });
    seen
}

pub(super) fn the_end_is_known_when_everything_was_delivered(env: &Env) {
    let (topic, partition, mut process) = with_records(env, 3_000);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, None));
    assert!(!fetcher.is_at_end(&partition), "the end was not fetched yet");
    let seen = until_the_end(env, &mut process, &mut *fetcher, &partition, 7);
    assert_eq!(seen, numbered(3_000), "all of it, before the end");
    for round in 0..3 {
        let text = format!("round {round}");
        env.write(&topic, 0, [&text]);
        let mut seen = Vec::new();
        env.eventually("the next record", || {
            process.step();
            for (_, records) in by_partition(must("poll", fetcher.poll(TICK, 10))) {
                seen.extend(texts(&records));
            }
            (!seen.is_empty()).then_some(())
        });
        seen.extend(until_the_end(env, &mut process, &mut *fetcher, &partition, 10));
        assert_eq!(seen, [text]);
    }
}

pub(super) fn the_end_of_an_empty_partition_is_known(env: &Env) {
    let (_, partition, mut process) = with_records(env, 0);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, Some(0)));
    assert!(until_the_end(env, &mut process, &mut *fetcher, &partition, 10).is_empty());
}

/// Kafka's transactions end with a marker, and aborted records are never delivered.
pub(super) fn the_end_is_after_markers_and_aborted_records(env: &Env) {
    let (topic, partition, mut process) = with_records(env, 3);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["committed"]);
    must("commit", producer.commit(env.patience));
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["aborted"]);
    must("flush", producer.flush(env.patience));
    must("abort", producer.abort(env.patience));
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, Some(2)));
    // A broker writes the marker of an abort after it acknowledges the abort.
    let expected = FetchProgress { position: 7, end: 7 };
    let mut seen = Vec::new();
    env.eventually("the end is after the second marker", || {
        seen.extend(until_the_end(env, &mut process, &mut *fetcher, &partition, 10));
        (fetcher.progress() == [(partition.clone(), expected)]).then_some(())
    });
    assert_eq!(seen, ["r00002", "committed"]);
}

pub(super) fn the_end_is_where_an_open_transaction_begins(env: &Env) {
    let (topic, partition, mut process) = with_records(env, 3);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["open"]);
    must("flush", producer.flush(env.patience));
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, Some(0)));
    let seen = until_the_end(env, &mut process, &mut *fetcher, &partition, 10);
    assert_eq!(seen, numbered(3), "there is nothing more that may be read");
    must("commit", producer.commit(env.patience));
    let mut seen = Vec::new();
    env.eventually("the transaction's record", || {
        seen.extend(until_the_end(env, &mut process, &mut *fetcher, &partition, 10));
        (!seen.is_empty()).then_some(())
    });
    assert_eq!(seen, ["open"]);
}

pub(super) fn the_end_is_unknown_again_after_a_rewind(env: &Env) {
    let (_, partition, mut process) = with_records(env, 500);
    let mut fetcher = process.fetcher();
    must("add", fetcher.add(&partition, Some(0)));
    for _ in 0..3 {
        let seen = until_the_end(env, &mut process, &mut *fetcher, &partition, 100);
        assert_eq!(seen, numbered(500));
        must("add again", fetcher.add(&partition, Some(0)));
        assert!(!fetcher.is_at_end(&partition), "it was moved to the beginning");
    }
    must("remove", fetcher.remove(&partition));
    assert!(!fetcher.is_at_end(&partition), "nothing is known about a partition that is not read");
}

/// A poll returns when the end becomes known, not only with the next record.
pub(super) fn the_end_wakes_a_waiting_poll(env: &Env) {
    let (_, partition, mut process) = with_records(env, 0);
    let mut fetcher = process.fetcher();
    env.meanwhile(|| process.step());
    must("add", fetcher.add(&partition, Some(0)));
    let began = std::time::Instant::now();
    while !fetcher.is_at_end(&partition) {
        must("poll", fetcher.poll(env.patience, 10));
    }
    assert!(began.elapsed() < env.patience / 2, "slept through it: {:?}", began.elapsed());
}

//! Records that disappear: deleted, compacted, expired.

use std::time::Duration;

use runtime::transport::Outgoing;

use super::env::{Env, at, must};
use super::records::{TIME, numbered, offsets, outgoing, send, texts};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn deleted_records_are_gone(env: &Env) {
    let topic = env.topic("in", 2);
    env.write(&topic, 0, numbered(10));
    env.write(&topic, 1, numbered(10));
    let partition = at(&topic, 0);
    must("delete", env.admin().delete_records(&[(partition.clone(), 4)], env.patience));
    let mut reader = env.reader(true);
    env.eventually("the start has moved", || {
        (must("bounds", reader.bounds(&partition, env.patience)) == (4, 10)).then_some(())
    });
    assert_eq!(offsets(&env.read_from(&partition, 4, true).0), (4..10).collect::<Vec<_>>());
    assert_eq!(env.read(&topic, 1, true).len(), 10, "the other partition is untouched");
    env.write(&topic, 0, ["new"]);
    let records = env.read(&topic, 0, true);
    assert_eq!(records.last().map(|record| record.offset), Some(10), "offsets go on");
}

/// Sends a key and value to partition 0; without a value, a tombstone.
fn put(
    producer: &mut dyn runtime::transport::Producer,
    topic: &std::sync::Arc<str>,
    key: &str,
    value: Option<&str>,
) {
    let value = value.map(str::as_bytes);
    must("send", producer.send(&Outgoing { value, ..outgoing(topic, 0, key) }));
}

pub(super) fn compaction_keeps_the_last_of_each_key(env: &Env) {
    let Some(maintain) = &env.maintain else { return };
    let topic = env.topic_with("table", 1, &[("cleanup.policy", "compact")]);
    let mut producer = env.transactional("t");
    for round in 0..3 {
        must("begin", producer.begin());
        for key in ["a", "b", "c"] {
            put(&mut *producer, &topic, key, Some(&format!("{key}{round}")));
        }
        must("commit", producer.commit(env.patience));
    }
    must("begin", producer.begin());
    put(&mut *producer, &topic, "b", None);
    put(&mut *producer, &topic, "end", Some("end"));
    must("commit", producer.commit(env.patience));
    must("begin", producer.begin());
    put(&mut *producer, &topic, "a", Some("aborted"));
    must("flush", producer.flush(env.patience));
    must("abort", producer.abort(env.patience));
    let bounds = env.reader(true).bounds(&at(&topic, 0), env.patience);
    maintain(Duration::ZERO);
    let (records, position) = env.read_from(&at(&topic, 0), 0, true);
    assert_eq!(texts(&records), ["a2", "c2", "null", "end"]);
    assert_eq!(offsets(&records), [8, 10, 12, 13], "offsets stay as they were");
    assert_eq!(must("bounds", bounds).1, position, "the end too");
    maintain(2 * DAY);
    let records = env.read(&topic, 0, true);
    assert_eq!(texts(&records), ["a2", "c2", "end"], "the tombstone has been kept long enough");
    env.write_committed(&topic, 0, &["more"]);
    assert_eq!(texts(&env.read(&topic, 0, true)), ["a2", "c2", "end", "more"]);
}

pub(super) fn compaction_leaves_open_transactions_alone(env: &Env) {
    let Some(maintain) = &env.maintain else { return };
    let topic = env.topic_with("table", 1, &[("cleanup.policy", "compact")]);
    env.write(&topic, 0, ["a", "b", "a"]);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["a"]);
    must("flush", producer.flush(env.patience));
    env.write(&topic, 0, ["b"]);
    maintain(Duration::ZERO);
    let records = env.read(&topic, 0, true);
    assert_eq!(offsets(&records), [1, 2], "an uncommitted record supersedes nothing");
    must("abort", producer.abort(env.patience));
    assert_eq!(offsets(&env.read(&topic, 0, true)), [1, 2, 4]);
    maintain(Duration::ZERO);
    assert_eq!(offsets(&env.read(&topic, 0, true)), [2, 4]);
}

pub(super) fn retention_deletes_old_records(env: &Env) {
    let Some(maintain) = &env.maintain else { return };
    let old = env.topic_with("old", 1, &[("retention.ms", "86400000")]);
    let kept = env.topic_with("kept", 1, &[("retention.ms", "-1")]);
    for topic in [&old, &kept] {
        env.write(topic, 0, ["one"]);
        env.write(topic, 0, ["two"]);
        let mut producer = env.producer();
        let timestamp = TIME * 2;
        let record = Outgoing { timestamp, ..outgoing(topic, 0, "of the far future") };
        must("send", producer.send(&record));
        must("flush", producer.flush(env.patience));
    }
    maintain(DAY * 3);
    assert_eq!(texts(&env.read(&old, 0, true)), ["of the far future"], "by their timestamps");
    let bounds = must("bounds", env.reader(true).bounds(&at(&old, 0), env.patience));
    assert_eq!(bounds, (2, 3));
    assert_eq!(env.read(&kept, 0, true).len(), 3);
}

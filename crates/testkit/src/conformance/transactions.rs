//! Transactions are atomic, and only the newest producer can write them.

use std::time::Duration;

use runtime::transport::ErrorKind;

use super::env::{Env, at, must, must_fail};
use super::records::{numbered, offsets, outgoing, send, texts};

pub(super) fn invisible_until_committed(env: &Env) {
    let topic = env.topic("out", 1);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["a", "b"]);
    must("flush", producer.flush(env.patience));
    assert!(env.read(&topic, 0, true).is_empty(), "visible before the commit");
    must("commit", producer.commit(env.patience));
    assert_eq!(env.committed_values(&topic, 0, 2), ["a", "b"]);
}

pub(super) fn uncommitted_is_visible_to_read_uncommitted(env: &Env) {
    let topic = env.topic("out", 1);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["a", "b"]);
    must("flush", producer.flush(env.patience));
    env.eventually("read_uncommitted sees the records", || {
        (texts(&env.read(&topic, 0, false)) == ["a", "b"]).then_some(())
    });
    must("abort", producer.abort(env.patience));
}

pub(super) fn aborted_is_never_visible(env: &Env) {
    let topic = env.topic("out", 1);
    let mut producer = env.transactional("t");
    for round in 0..3 {
        must("begin", producer.begin());
        send(&mut *producer, &topic, 0, [format!("bad {round}")]);
        must("flush", producer.flush(env.patience));
        must("abort", producer.abort(env.patience));
        must("begin", producer.begin());
        send(&mut *producer, &topic, 0, [format!("good {round}")]);
        must("commit", producer.commit(env.patience));
    }
    assert_eq!(env.committed_values(&topic, 0, 3), ["good 0", "good 1", "good 2"]);
}

pub(super) fn partitions_commit_together(env: &Env) {
    let one = env.topic("one", 2);
    let two = env.topic("two", 1);
    let mut producer = env.transactional("t");
    let parts = [(&one, 0), (&one, 1), (&two, 0)];
    for (round, commit) in [true, false, true].into_iter().enumerate() {
        must("begin", producer.begin());
        for (topic, partition) in parts {
            send(&mut *producer, topic, partition, [format!("{round}")]);
        }
        must("flush", producer.flush(env.patience));
        match commit {
            true => must("commit", producer.commit(env.patience)),
            false => must("abort", producer.abort(env.patience)),
        }
    }
    for (topic, partition) in parts {
        assert_eq!(env.committed_values(topic, partition, 2), ["0", "2"], "{topic}-{partition}");
    }
}

pub(super) fn markers_occupy_offsets(env: &Env) {
    let topic = env.topic("out", 1);
    env.write_committed(&topic, 0, &["a", "b"]);
    let mut producer = env.transactional("aborting");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["x"]);
    must("flush", producer.flush(env.patience));
    must("abort", producer.abort(env.patience));
    env.write_committed(&topic, 0, &["c"]);
    env.committed_values(&topic, 0, 3);
    // a b [commit] x [abort] c [commit]
    let (records, position) = env.read_from(&at(&topic, 0), 0, true);
    assert_eq!(texts(&records), ["a", "b", "c"]);
    assert_eq!(offsets(&records), [0, 1, 5]);
    assert_eq!(position, 7, "after the last marker");
    let mut reader = env.reader(true);
    let bounds = must("bounds", reader.bounds(&at(&topic, 0), env.patience));
    assert_eq!(bounds, (0, 7), "markers count");
}

pub(super) fn open_transaction_holds_back_later_records(env: &Env) {
    let topic = env.topic("out", 1);
    let mut open = env.transactional("open");
    must("begin", open.begin());
    env.write(&topic, 0, ["before"]);
    send(&mut *open, &topic, 0, ["open"]);
    must("flush", open.flush(env.patience));
    env.write_committed(&topic, 0, &["later"]);
    env.write(&topic, 0, ["plain"]);
    let (records, position) = env.read_from(&at(&topic, 0), 0, true);
    assert_eq!(texts(&records), ["before"], "the last stable offset is before the open one");
    assert_eq!(position, 1);
    must("commit", open.commit(env.patience));
    assert_eq!(env.committed_values(&topic, 0, 4), ["before", "open", "later", "plain"]);
}

pub(super) fn newer_producer_fences_the_older(env: &Env) {
    let topic = env.topic("out", 1);
    let mut older = env.transactional("same");
    must("begin", older.begin());
    send(&mut *older, &topic, 0, ["zombie"]);
    must("flush", older.flush(env.patience));
    let mut newer = env.transactional("same");
    let sent = older.send(&outgoing(&topic, 0, "zombie too"));
    let result = sent.and_then(|()| older.commit(env.patience));
    must_fail("commit of the older", &[ErrorKind::Fenced], result);
    must("begin", newer.begin());
    send(&mut *newer, &topic, 0, ["newer"]);
    must("commit", newer.commit(env.patience));
    assert_eq!(env.committed_values(&topic, 0, 1), ["newer"]);
}

pub(super) fn newer_producer_ends_the_transaction_of_the_older(env: &Env) {
    let topic = env.topic("out", 1);
    let mut older = env.transactional("same");
    must("begin", older.begin());
    send(&mut *older, &topic, 0, ["dead"]);
    must("flush", older.flush(env.patience));
    env.write(&topic, 0, ["behind"]);
    assert!(env.read(&topic, 0, true).is_empty(), "held back by the open transaction");
    let newer = env.transactional("same");
    assert_eq!(env.committed_values(&topic, 0, 1), ["behind"], "without waiting for a timeout");
    drop((older, newer));
}

pub(super) fn goes_on_after_an_abort(env: &Env) {
    let topic = env.topic("out", 1);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, numbered(2000));
    must("abort with much in flight", producer.abort(env.patience));
    must("begin", producer.begin());
    must("commit of nothing", producer.commit(env.patience));
    must("begin", producer.begin());
    must("abort of nothing", producer.abort(env.patience));
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["kept"]);
    must("commit", producer.commit(env.patience));
    assert_eq!(env.committed_values(&topic, 0, 1), ["kept"]);
}

pub(super) fn left_open_is_aborted_in_time(env: &Env) {
    let topic = env.topic("out", 1);
    let mut producer = env.init(Some(env.name("slow")), Duration::from_secs(1));
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["abandoned"]);
    must("flush", producer.flush(env.patience));
    env.write(&topic, 0, ["behind"]);
    assert_eq!(env.committed_values(&topic, 0, 1), ["behind"], "the log aborts by itself");
    let kinds = [ErrorKind::Fenced, ErrorKind::Abortable, ErrorKind::Unknown, ErrorKind::Fatal];
    let sent = producer.send(&outgoing(&topic, 0, "too late"));
    let result = sent.and_then(|()| producer.commit(env.patience));
    must_fail("commit after the timeout", &kinds, result);
    drop(producer);
    env.meanwhile(|| assert_eq!(texts(&env.read(&topic, 0, true)), ["behind"]));
}

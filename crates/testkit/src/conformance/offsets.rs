//! Committed offsets: with the transaction, fenced by the group.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{CommittedOffset, ErrorKind, GroupMetadata};
use streams_core::TopicPartition;

use super::env::{Env, at, must, must_fail};
use super::process::{GroupProcess, alone, commit_of, settle};
use super::records::send;

fn committed(env: &Env, process: &GroupProcess, partition: &TopicPartition) -> CommittedOffset {
    let partitions = std::slice::from_ref(partition);
    let found = env.retry("committed", || process.group.committed(partitions, env.patience));
    assert_eq!(found.len(), 1);
    found.into_iter().next().unwrap_or_else(|| unreachable!("asked for one"))
}

fn offset(offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset { offset: Some(offset), metadata: metadata.to_owned() }
}

fn nothing() -> CommittedOffset {
    CommittedOffset { offset: None, metadata: String::new() }
}

pub(super) fn commit_with_the_transaction(env: &Env) {
    let input = env.topic("in", 2);
    let output = env.topic("out", 1);
    let mut process = alone(env, "group", &[&input], 2);
    let first = at(&input, 0);
    let second = at(&input, 1);
    assert_eq!(committed(env, &process, &first), nothing());
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &output, 0, ["out"]);
    let group = process.metadata(env);
    let offsets = [commit_of(&first, 5, "stream time 17"), commit_of(&second, 7, "")];
    must("send offsets", producer.send_offsets(&offsets, &group, env.patience));
    must("commit", producer.commit(env.patience));
    assert_eq!(committed(env, &process, &first), offset(5, "stream time 17"));
    assert_eq!(committed(env, &process, &second), offset(7, ""));
    // A transaction may consist of offsets only, and they may go backward as well as forward.
    must("begin", producer.begin());
    let offsets = [commit_of(&first, 4, "back")];
    must("send offsets", producer.send_offsets(&offsets, &group, env.patience));
    must("commit", producer.commit(env.patience));
    assert_eq!(committed(env, &process, &first), offset(4, "back"));
    assert_eq!(committed(env, &process, &second), offset(7, ""), "untouched");
}

pub(super) fn are_dropped_with_the_transaction(env: &Env) {
    let input = env.topic("in", 1);
    let output = env.topic("out", 1);
    let mut process = alone(env, "group", &[&input], 1);
    let partition = at(&input, 0);
    let mut producer = env.transactional("t");
    let group = process.metadata(env);
    must("begin", producer.begin());
    send(&mut *producer, &output, 0, ["out"]);
    let offsets = [commit_of(&partition, 5, "aborted")];
    must("send offsets", producer.send_offsets(&offsets, &group, env.patience));
    must("abort", producer.abort(env.patience));
    assert_eq!(committed(env, &process, &partition), nothing());
    assert!(env.read(&output, 0, true).is_empty());
}

pub(super) fn of_an_open_transaction_are_not_stable(env: &Env) {
    let input = env.topic("in", 1);
    let mut process = alone(env, "group", &[&input], 1);
    let partition = at(&input, 0);
    let mut producer = env.transactional("t");
    let group = process.metadata(env);
    must("begin", producer.begin());
    let offsets = [commit_of(&partition, 5, "")];
    must("send offsets", producer.send_offsets(&offsets, &group, env.patience));
    let asked = [partition.clone()];
    let result = process.group.committed(&asked, env.quiet);
    must_fail("committed while a transaction is open", &[ErrorKind::Retriable], result);
    must("commit", producer.commit(env.patience));
    assert_eq!(committed(env, &process, &partition), offset(5, ""));
}

/// A member, its identity before another member joined, and the other member.
fn outdated(env: &Env, input: &Arc<str>) -> (GroupProcess, GroupMetadata, GroupProcess) {
    let mut first = alone(env, "group", &[input], 2);
    let old = first.metadata(env);
    let mut second = GroupProcess::start(env, &env.member("group", &[input]));
    settle(env, &mut [&mut first, &mut second], 2);
    (first, old, second)
}

pub(super) fn stale_generation_is_refused(env: &Env) {
    let input = env.topic("in", 2);
    let output = env.topic("out", 1);
    let (mut first, old, mut second) = outdated(env, &input);
    let new = env.eventually("a newer generation", || {
        second.step();
        let metadata = first.metadata(env);
        (metadata.generation > old.generation).then_some(metadata)
    });
    assert_eq!(new.member_id, old.member_id, "the same member in a newer generation");
    let Some(kept) = first.owned.first().cloned() else { panic!("owns nothing") };
    let offsets = [commit_of(&kept, 3, "")];
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &output, 0, ["stale"]);
    let result = producer.send_offsets(&offsets, &old, env.patience);
    must_fail("offsets of an old generation", &[ErrorKind::Abortable], result);
    must("abort", producer.abort(env.patience));
    assert_eq!(committed(env, &first, &kept), nothing());
    must("begin", producer.begin());
    send(&mut *producer, &output, 0, ["fresh"]);
    must("offsets", producer.send_offsets(&offsets, &first.metadata(env), env.patience));
    must("commit with the same producer", producer.commit(env.patience));
    assert_eq!(committed(env, &first, &kept), offset(3, ""));
    assert_eq!(env.committed_values(&output, 0, 1), ["fresh"]);
}

pub(super) fn unknown_member_is_refused(env: &Env) {
    let input = env.topic("in", 1);
    let output = env.topic("out", 1);
    let mut process = alone(env, "group", &[&input], 1);
    let stranger = GroupMetadata { member_id: "nobody".into(), ..process.metadata(env) };
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &output, 0, ["stranger"]);
    let offsets = [commit_of(&at(&input, 0), 3, "")];
    let result = producer.send_offsets(&offsets, &stranger, env.patience);
    must_fail("offsets of an unknown member", &[ErrorKind::Abortable], result);
    must("abort", producer.abort(env.patience));
    assert_eq!(committed(env, &process, &at(&input, 0)), nothing());
    assert!(env.read(&output, 0, true).is_empty());
}

pub(super) fn commit_outside_transactions(env: &Env) {
    let input = env.topic("in", 2);
    let mut process = alone(env, "group", &[&input], 2);
    process.metadata(env);
    let first = at(&input, 0);
    let second = at(&input, 1);
    let offsets = [commit_of(&first, 11, "text")];
    env.retry("commit", || process.group.commit(&offsets, env.patience));
    assert_eq!(committed(env, &process, &first), offset(11, "text"));
    assert_eq!(committed(env, &process, &second), nothing());
    let offsets = [commit_of(&first, 12, ""), commit_of(&second, 1, "")];
    env.retry("commit", || process.group.commit(&offsets, env.patience));
    let both = [second, first];
    let found = env.retry("committed", || process.group.committed(&both, env.patience));
    assert_eq!(found, [offset(1, ""), offset(12, "")], "in the order asked for");
}

pub(super) fn metadata_that_is_too_long_is_refused(env: &Env) {
    let input = env.topic("in", 1);
    let mut process = alone(env, "group", &[&input], 1);
    process.metadata(env);
    let partition = at(&input, 0);
    let longest = "x".repeat(4096);
    let offsets = [commit_of(&partition, 1, &longest)];
    env.retry("commit", || process.group.commit(&offsets, env.patience));
    let offsets = [commit_of(&partition, 2, &format!("{longest}x"))];
    let result = process.group.commit(&offsets, Duration::from_secs(10));
    must_fail("4,097 bytes of metadata", &[ErrorKind::Refused], result);
    assert_eq!(committed(env, &process, &partition), offset(1, &longest));
}

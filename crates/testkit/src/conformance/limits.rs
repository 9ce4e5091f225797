//! Sizes.

use std::sync::Arc;

use runtime::transport::{ErrorKind, Outgoing, Producer, TimestampType};
use streams_core::record_bytes;

use super::env::{Env, must, must_fail};
use super::records::{outgoing, send, texts};

const MAX: usize = 1 << 20;

/// A record near a topic's default limit is accepted; some overhead is allowed for.
pub(super) fn record_of_the_maximum_size_is_accepted(env: &Env) {
    let topic = env.topic("in", 1);
    let text = "x".repeat(MAX - 60_000);
    let mut producer = env.producer();
    for value in [&text, "small"] {
        let record = Outgoing { key: None, ..outgoing(&topic, 0, value) };
        must("send", producer.send(&record));
    }
    must("flush", producer.flush(env.patience));
    let records = env.read(&topic, 0, true);
    assert_eq!(texts(&records), [&text, "small"].map(|text| text.to_owned()));
}

/// Incompressible bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

/// Sends a record over the topic's limit and returns how that failed.
fn send_too_large(env: &Env, producer: &mut dyn Producer, topic: &Arc<str>) -> String {
    let noise = noise(40_000);
    let large = Outgoing { key: Some(b"key"), value: Some(&noise), ..outgoing(topic, 0, "") };
    let sent = producer.send(&large);
    let result = sent.and_then(|()| producer.flush(env.patience));
    let error = must_fail("a record of 40,000 bytes", &[ErrorKind::Refused], result);
    error.to_string()
}

pub(super) fn too_large_a_record_is_refused(env: &Env) {
    let topic = env.topic_with("in", 1, &[("max.message.bytes", "20000")]);
    let mut producer = env.producer();
    let error = send_too_large(env, &mut *producer, &topic);
    assert!(error.contains(&*topic), "names the topic: {error}");
    send(&mut *producer, &topic, 0, ["small"]);
    must("flush", producer.flush(env.patience));
    assert_eq!(texts(&env.read(&topic, 0, true)), ["small"], "the producer goes on");
}

pub(super) fn too_large_a_record_does_not_end_the_transactional_producer(env: &Env) {
    let topic = env.topic_with("in", 1, &[("max.message.bytes", "20000")]);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["beside it"]);
    let error = send_too_large(env, &mut *producer, &topic);
    assert!(error.contains(&*topic), "names the topic: {error}");
    must("abort", producer.abort(env.patience));
    env.eventually("transactions succeed again", || {
        must("begin", producer.begin());
        send(&mut *producer, &topic, 0, ["small"]);
        match producer.commit(env.patience) {
            Ok(()) => Some(()),
            // A client may notice only now that the refused record left a gap.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Abortable, "{error}");
                must("abort", producer.abort(env.patience));
                None
            }
        }
    });
    assert_eq!(env.committed_values(&topic, 0, 1), ["small"]);
}

/// The longest value that a record with the key `key` may have in a topic with this limit.
fn longest(bytes_max: usize) -> Vec<u8> {
    let mut value = noise(bytes_max);
    while record_bytes(Some(b"key"), Some(&value), None) > bytes_max {
        value.pop();
    }
    value
}

/// Sends one record and waits for it.
fn send_alone(
    env: &Env,
    producer: &mut dyn Producer,
    topic: &Arc<str>,
    value: &[u8],
) -> runtime::transport::Result<()> {
    let key = Some(&b"key"[..]);
    let sent = producer.send(&Outgoing { key, value: Some(value), ..outgoing(topic, 0, "") });
    sent.and_then(|()| producer.flush(env.patience))
}

/// A record has exactly the size that [`record_bytes`] computes.
pub(super) fn record_of_exactly_the_limit_is_accepted(env: &Env) {
    let topic = env.topic_with("in", 1, &[("max.message.bytes", "20000")]);
    let mut producer = env.producer();
    let mut value = longest(20_000);
    must("a record of the limit", send_alone(env, &mut *producer, &topic, &value));
    value.push(b'x');
    let sent = send_alone(env, &mut *producer, &topic, &value);
    must_fail("a record one byte larger", &[ErrorKind::Refused], sent);
    assert_eq!(env.read(&topic, 0, true).len(), 1);
}

pub(super) fn record_of_exactly_the_limit_is_accepted_in_a_transaction(env: &Env) {
    let topic = env.topic_with("in", 1, &[("max.message.bytes", "20000")]);
    let mut producer = env.transactional("t");
    must("begin", producer.begin());
    let mut value = longest(20_000);
    must("a record of the limit", send_alone(env, &mut *producer, &topic, &value));
    must("commit", producer.commit(env.patience));
    must("begin", producer.begin());
    value.push(b'x');
    let sent = send_alone(env, &mut *producer, &topic, &value);
    must_fail("a record one byte larger", &[ErrorKind::Refused], sent);
    assert_eq!(env.read(&topic, 0, true).len(), 1);
}

/// Records that a topic accepts one by one are also accepted in batches, if the producer knows the
/// topic's limit.
pub(super) fn records_that_fit_one_by_one_are_accepted_together(env: &Env) {
    let topic = env.topic_with("in", 1, &[("max.message.bytes", "2000")]);
    let value = noise(300);
    for id in [None, Some(env.name("t"))] {
        let is_transactional = id.is_some();
        let mut producer = env.open(id);
        producer.limit_batches(&topic, 2_000);
        env.retry("init the producer", || producer.init(env.patience));
        if is_transactional {
            must("begin", producer.begin());
        }
        for _ in 0..100 {
            let record = Outgoing { value: Some(&value), ..outgoing(&topic, 0, "") };
            must("send", producer.send(&record));
        }
        must("flush", producer.flush(env.patience));
        if is_transactional {
            must("commit", producer.commit(env.patience));
        }
    }
    assert_eq!(env.read(&topic, 0, true).len(), 200);
}

pub(super) fn timestamps_beyond_the_bounds_are_refused(env: &Env) {
    let bound = if has_two_bounds(env) { BEFORE } else { DIFFERENCE };
    let hour = (bound, "3600000");
    let topic = env.topic_with("in", 1, &[("retention.ms", "-1"), hour]);
    let mut producer = env.producer();
    let old = Outgoing { timestamp: 1_000, ..outgoing(&topic, 0, "old") };
    let sent = producer.send(&old).and_then(|()| producer.flush(env.patience));
    let error = must_fail("a record of 1970", &[ErrorKind::Refused], sent);
    assert!(error.to_string().contains(&*topic), "names the topic: {error}");
}

const BEFORE: &str = "message.timestamp.before.max.ms";
const AFTER: &str = "message.timestamp.after.max.ms";
/// Of Kafka before 3.6, to both sides of the clock.
const DIFFERENCE: &str = "message.timestamp.difference.max.ms";

/// Whether a topic has a bound for each side of the clock.
fn has_two_bounds(env: &Env) -> bool {
    let topic = env.new_topic("bounds", 1, &[(BEFORE, "5000"), (AFTER, "7000")]);
    let mut admin = env.admin();
    env.eventually("a topic is created or refused", || match admin.create(&topic, env.patience) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::Refused => Some(false),
        Err(_) => None,
    })
}

pub(super) fn limits_are_described(env: &Env) {
    let size = ("max.message.bytes", "20000");
    let kind = ("message.timestamp.type", "CreateTime");
    let is_new = has_two_bounds(env);
    let bounds = if is_new { (5_000, 7_000) } else { (5_000, 5_000) };
    let topic = if is_new {
        env.topic_with("limited", 1, &[size, kind, (BEFORE, "5000"), (AFTER, "7000")])
    } else {
        env.topic_with("limited", 1, &[size, kind, (DIFFERENCE, "5000")])
    };
    let plain = env.topic("plain", 1);
    let mut admin = env.admin();
    let infos = must("describe", admin.describe(&[topic, plain], env.patience));
    let [Some(limited), Some(plain)] = &infos[..] else { panic!("missing in {infos:?}") };
    assert_eq!((limited.max_message_bytes, plain.max_message_bytes), (20_000, 1_048_588));
    assert_eq!(limited.timestamp_type, TimestampType::CreateTime);
    assert_eq!((limited.timestamp_before_max_ms, limited.timestamp_after_max_ms), bounds);
    assert_eq!(plain.timestamp_before_max_ms, i64::MAX, "Kafka's default");
}

//! Sizes.

use runtime::transport::{ErrorKind, Outgoing, Producer};

use super::env::{Env, must, must_fail};
use super::records::{outgoing, send, texts};

const MAX: usize = 1 << 20;

/// A record of about the default limit of a topic is accepted; some overhead is allowed for.
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

/// Sends a record over the topic's limit and returns how that failed.
fn send_too_large(env: &Env, producer: &mut dyn Producer, topic: &std::sync::Arc<str>) -> String {
    let text = "x".repeat(40_000);
    let large = Outgoing { key: Some(b"key"), ..outgoing(topic, 0, &text) };
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
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["small"]);
    must("commit", producer.commit(env.patience));
    assert_eq!(env.committed_values(&topic, 0, 1), ["small"]);
}

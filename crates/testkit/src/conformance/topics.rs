//! Topics are created, described, and never created by accident.

use std::sync::Arc;

use runtime::transport::{ErrorKind, NewTopic, Outgoing, TimestampType};

use super::env::{Env, at, must, must_fail};
use super::records::outgoing;

pub(super) fn created_topic_is_described(env: &Env) {
    let config = [("cleanup.policy", "compact"), ("retention.ms", "86400000")];
    let topic = env.topic_with("compacted", 5, &config);
    let plain = env.topic("plain", 2);
    let mut admin = env.admin();
    let infos = must("describe", admin.describe(&[topic.clone(), plain.clone()], env.patience));
    let [Some(compacted), Some(plain_info)] = &infos[..] else { panic!("missing in {infos:?}") };
    assert_eq!((&compacted.name, compacted.partitions), (&topic, 5));
    assert_eq!((&*compacted.cleanup_policy, compacted.retention_ms), ("compact", 86_400_000));
    assert_eq!((&plain_info.name, plain_info.partitions), (&plain, 2));
    assert_eq!(plain_info.cleanup_policy, "delete", "Kafka's default");
}

/// What internal topics are created with.
pub(super) fn created_topic_accepts_any_timestamp_if_configured(env: &Env) {
    let any = i64::MAX.to_string();
    let config = [
        ("message.timestamp.type", "CreateTime"),
        ("message.timestamp.before.max.ms", &*any),
        ("message.timestamp.after.max.ms", &*any),
        ("retention.ms", "-1"),
    ];
    let topic = env.topic_with("any-time", 1, &config);
    let infos = must("describe", env.admin().describe(std::slice::from_ref(&topic), env.patience));
    let [Some(info)] = &infos[..] else { panic!("missing in {infos:?}") };
    assert_eq!(info.timestamp_type, TimestampType::CreateTime);
    let bounds = (info.timestamp_before_max_ms, info.timestamp_after_max_ms);
    assert_eq!(bounds, (i64::MAX, i64::MAX));
    let mut producer = env.producer();
    // In 1970, and in 2100.
    let times = [1, 4_102_444_800_000];
    for timestamp in times {
        must("send", producer.send(&Outgoing { timestamp, ..outgoing(&topic, 0, "then") }));
    }
    must("flush", producer.flush(env.patience));
    let found: Vec<_> = env.read(&topic, 0, true).iter().map(|one| one.timestamp).collect();
    assert_eq!(found, times);
}

pub(super) fn describing_an_unknown_topic_does_not_create_it(env: &Env) {
    let known = env.topic("known", 1);
    let unknown = env.name("unknown");
    let mut admin = env.admin();
    for _ in 0..3 {
        let asked = [unknown.clone(), known.clone(), unknown.clone()];
        let infos = must("describe", admin.describe(&asked, env.patience));
        assert_eq!(infos.len(), 3, "one answer for each topic asked for");
        assert!(infos[0].is_none() && infos[2].is_none(), "{infos:?}");
        assert_eq!(infos[1].as_ref().map(|info| &info.name), Some(&known));
    }
}

pub(super) fn creating_twice_is_an_error(env: &Env) {
    env.topic("twice", 3);
    let again = env.new_topic("twice", 4, &[]);
    let error =
        must_fail("create again", &[ErrorKind::Exists], env.admin().create(&again, env.patience));
    assert!(error.to_string().contains(&*again.name), "names the topic: {error}");
    let infos = must("describe", env.admin().describe(&[again.name], env.patience));
    assert_eq!(infos[0].as_ref().map(|info| info.partitions), Some(3), "unchanged");
}

pub(super) fn bad_configuration_is_refused(env: &Env) {
    let mut admin = env.admin();
    let bad = [
        env.new_topic("bad-policy", 1, &[("cleanup.policy", "sometimes")]),
        env.new_topic("bad-name", 1, &[("no.such.setting", "1")]),
        env.new_topic("bad-number", 1, &[("retention.ms", "soon")]),
        env.new_topic("bad count", 1, &[]),
        env.new_topic("no-partitions", 0, &[]),
    ];
    for topic in bad {
        must_fail(&topic.name, &[ErrorKind::Refused], admin.create(&topic, env.patience));
    }
}

pub(super) fn invalid_topic_names_are_refused(env: &Env) {
    let mut admin = env.admin();
    let long = env.name(&"x".repeat(249));
    let start =
        |length: usize| -> Arc<str> { long.chars().take(length).collect::<String>().into() };
    let bad = [".".into(), "..".into(), start(250), env.name("a/b"), env.name("\u{e4}")];
    for name in bad {
        let topic = NewTopic { name, ..env.new_topic("bad", 1, &[]) };
        must_fail(&topic.name, &[ErrorKind::Refused], admin.create(&topic, env.patience));
    }
    let longest = NewTopic { name: start(249), ..env.new_topic("longest", 1, &[]) };
    must("create a topic with the longest name", admin.create(&longest, env.patience));
}

pub(super) fn names_that_differ_only_in_dots_are_refused(env: &Env) {
    let mut admin = env.admin();
    for (first, second) in [("dots.a.b", "dots.a_b"), ("lines_a_b", "lines.a.b")] {
        let first = env.topic(first, 1);
        let second = env.new_topic(second, 1, &[]);
        let refused = admin.create(&second, env.patience);
        must_fail("create a topic that collides", &[ErrorKind::Refused], refused);
        let infos = must("describe", admin.describe(&[second.name, first], env.patience));
        assert!(infos[0].is_none() && infos[1].is_some(), "{infos:?}");
    }
    env.topic("dots-a-b", 1);
}

pub(super) fn producing_to_an_unknown_topic_fails(env: &Env) {
    let unknown = env.name("unknown");
    let mut producer = env.producer();
    let sent = producer.send(&outgoing(&unknown, 0, "lost"));
    let result = sent.and_then(|()| producer.flush(env.patience));
    let kinds = [ErrorKind::NotFound, ErrorKind::Refused, ErrorKind::Retriable];
    let error = must_fail("send to an unknown topic", &kinds, result);
    assert!(error.to_string().contains(&*unknown), "names the topic: {error}");
    let infos = must("describe", env.admin().describe(&[unknown], env.patience));
    assert!(infos[0].is_none(), "created by sending to it");
}

pub(super) fn reading_an_unknown_topic_fails(env: &Env) {
    let unknown = at(&env.name("unknown"), 0);
    let kinds = [ErrorKind::NotFound, ErrorKind::Retriable];
    let result = env.reader(true).bounds(&unknown, env.quiet * 4);
    must_fail("bounds of an unknown topic", &kinds, result);
    let known = at(&env.topic("known", 2), 2);
    let result = env.reader(true).bounds(&known, env.quiet * 4);
    must_fail("bounds of an unknown partition", &kinds, result);
}

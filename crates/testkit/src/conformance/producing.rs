//! Records are read as they were sent.

use runtime::transport::Outgoing;
use streams_core::{Headers, partition_for};

use super::env::{Env, at, must};
use super::records::{TIME, numbered, offsets, outgoing, send, texts};

pub(super) fn order_timestamps_and_offsets_are_kept(env: &Env) {
    let topic = env.topic("in", 1);
    let mut producer = env.producer();
    let times = [TIME, TIME + 5, TIME - 100_000, TIME + 5, 1];
    for (n, timestamp) in times.into_iter().enumerate() {
        let text = n.to_string();
        let record = Outgoing { timestamp, ..outgoing(&topic, 0, &text) };
        must("send", producer.send(&record));
    }
    must("flush", producer.flush(env.patience));
    let records = env.read(&topic, 0, true);
    assert_eq!(texts(&records), ["0", "1", "2", "3", "4"]);
    assert_eq!(offsets(&records), [0, 1, 2, 3, 4]);
    let read: Vec<_> = records.iter().map(|record| record.timestamp).collect();
    assert_eq!(read, times, "the producer's timestamps, in any order");
}

pub(super) fn headers_are_kept(env: &Env) {
    let topic = env.topic("in", 1);
    let mut headers = Headers::new();
    headers.push("trace", Some(b"one"));
    headers.push("nothing", None);
    headers.push("empty", Some(b""));
    headers.push("trace", Some(&[0, 255, 1]));
    let mut producer = env.producer();
    let with = Outgoing { headers: Some(&headers), ..outgoing(&topic, 0, "with") };
    must("send", producer.send(&with));
    must("send", producer.send(&outgoing(&topic, 0, "without")));
    must("flush", producer.flush(env.patience));
    let records = env.read(&topic, 0, true);
    assert_eq!(records[0].headers, headers, "names may repeat, order is kept, null is kept");
    assert!(records[1].headers.is_empty());
}

pub(super) fn null_and_empty_differ(env: &Env) {
    let topic = env.topic("in", 1);
    let mut producer = env.producer();
    let choices: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"x")];
    for key in choices {
        for value in choices {
            let record = Outgoing { key, value, ..outgoing(&topic, 0, "") };
            must("send", producer.send(&record));
        }
    }
    must("flush", producer.flush(env.patience));
    let records = env.read(&topic, 0, true);
    assert_eq!(records.len(), 9);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record.key.as_deref(), choices[n / 3], "key of record {n}");
        assert_eq!(record.value.as_deref(), choices[n % 3], "value of record {n}");
    }
}

pub(super) fn keys_choose_partitions_as_the_java_client_does(env: &Env) {
    let topic = env.topic("in", 7);
    let keys = numbered(100);
    let mut producer = env.producer();
    for key in keys.iter().map(String::as_str).chain([""]) {
        let record = Outgoing { partition: None, ..outgoing(&topic, 0, key) };
        must("send", producer.send(&record));
    }
    must("flush", producer.flush(env.patience));
    let mut count = 0;
    for partition in 0..7 {
        for record in env.read(&topic, partition, true) {
            let key = record.key.as_deref().unwrap_or_default();
            let expected = partition_for(key, 7);
            assert_eq!(partition, expected, "of key {:?}", String::from_utf8_lossy(key));
            count += 1;
        }
    }
    assert_eq!(count, 101);
}

pub(super) fn records_without_key_are_spread(env: &Env) {
    let topic = env.topic("in", 3);
    let mut producer = env.producer();
    let text = "x".repeat(100);
    let mut sent = 0;
    // A producer may stay with one partition for a while, to send few large batches.
    env.eventually("every partition has some", || {
        for _ in 0..100 {
            let record = Outgoing { partition: None, key: None, ..outgoing(&topic, 0, &text) };
            must("send", producer.send(&record));
        }
        must("flush", producer.flush(env.patience));
        sent += 100;
        let counts = [0, 1, 2].map(|partition| env.read(&topic, partition, true).len());
        assert_eq!(counts.iter().sum::<usize>(), sent);
        counts.iter().all(|&count| count > 0).then_some(())
    });
}

pub(super) fn many_records_arrive_once_and_in_order(env: &Env) {
    let topic = env.topic("in", 2);
    let all = numbered(20_000);
    let mut producer = env.producer();
    for (n, text) in all.iter().enumerate() {
        must("send", producer.send(&outgoing(&topic, (n % 2) as i32, text)));
    }
    must("flush", producer.flush(env.patience));
    for partition in 0..2 {
        let records = env.read(&topic, partition, true);
        let expected = all.iter().skip(partition as usize).step_by(2);
        assert!(texts(&records).iter().eq(expected), "partition {partition}");
        assert_eq!(offsets(&records), (0..10_000).collect::<Vec<_>>());
    }
}

pub(super) fn last_offset_follows_tracked_partitions(env: &Env) {
    let topic = env.topic("in", 2);
    env.write(&topic, 0, numbered(5));
    let tracked = at(&topic, 0);
    let other = at(&topic, 1);
    let mut producer = env.transactional("tracking");
    producer.track(&tracked);
    assert_eq!(producer.last_offset(&tracked), None, "nothing sent");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["a", "b", "c"]);
    send(&mut *producer, &topic, 1, ["d"]);
    must("flush", producer.flush(env.patience));
    assert_eq!(producer.last_offset(&tracked), Some(7), "5 exist, 3 were read");
    assert_eq!(producer.last_offset(&other), None, "not tracked");
    must("commit", producer.commit(env.patience));
    assert_eq!(producer.last_offset(&tracked), Some(7), "the marker is not a record");
    must("begin", producer.begin());
    send(&mut *producer, &topic, 0, ["e"]);
    must("commit", producer.commit(env.patience));
    let last = producer.last_offset(&tracked);
    let read = env.committed_values(&topic, 0, 9);
    assert_eq!(read.last().map(String::as_str), Some("e"));
    let records = env.read(&topic, 0, true);
    assert_eq!(last, records.last().map(|record| record.offset));
}

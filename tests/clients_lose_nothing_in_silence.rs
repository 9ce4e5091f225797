//! A plain client writes headers and timestamps as given or refuses them, reads from where it was
//! told to, and never takes a part for the whole.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::client::{ReadFrom, ReadRecord};
use headwater::errors::ClientError;
use headwater::prelude::*;
use headwater::spi::transport::{Outgoing, ProducerConfig};
use headwater::topics::Headers;
use support::embedded;

fn topic(client: &Client, name: &str, partitions: i32) -> Topic<String, i64> {
    client.create_topic(name, partitions).unwrap();
    Topic::new(name)
}

fn write(client: &Client, topic: &Topic<String, i64>, records: &[(&str, i64, i64)]) {
    let mut writer = client.writer().unwrap();
    for (key, value, timestamp) in records {
        writer.send(topic, &(*key).to_owned(), value, *timestamp).unwrap();
    }
    writer.flush().unwrap();
}

fn values(records: Vec<ReadRecord<String, i64>>) -> Vec<i64> {
    records.into_iter().map(|read| read.record.value).collect()
}

#[test]
fn headers_arrive() {
    let (_, client) = embedded();
    let orders = topic(&client, "client-headers", 1);
    let mut headers = Headers::new();
    headers.push("trace", Some(b"7f3a"));
    headers.push("empty", None);
    let mut writer = client.writer().unwrap();
    writer.send_record(&orders, &Record::new("a".to_owned(), 1, 5), &headers).unwrap();
    writer.flush().unwrap();
    let read = client.reader(&orders).unwrap().read_to_end().unwrap();
    assert_eq!((&read[0].headers, read[0].record.timestamp), (&headers, 5));
}

#[test]
fn a_negative_timestamp_is_refused() {
    let (_, client) = embedded();
    let orders = topic(&client, "client-times", 1);
    let mut writer = client.writer().unwrap();
    for timestamp in [-1, i64::MIN] {
        let error = writer.send(&orders, &"a".to_owned(), &1, timestamp).unwrap_err();
        assert!(matches!(error, ClientError::NegativeTimestamp { .. }), "{error}");
        assert!(error.to_string().contains("client-times"), "{error}");
        assert!(writer.deliver(&orders, &"a".to_owned(), &1, timestamp).is_err());
    }
    writer.flush().unwrap();
    assert!(client.reader(&orders).unwrap().read_to_end().unwrap().is_empty());
}

#[test]
fn a_reader_begins_where_it_is_told_to() {
    let (_, client) = embedded();
    let orders = topic(&client, "client-places", 1);
    write(&client, &orders, &[("a", 0, 100), ("a", 1, 300), ("a", 2, 200), ("a", 3, 400)]);
    let from = |from: ReadFrom| client.reader_from(&orders, &from).unwrap();
    let read = |place: ReadFrom| values(from(place).read_to_end().unwrap());
    assert_eq!(read(ReadFrom::Beginning), [0, 1, 2, 3]);
    assert_eq!(read(ReadFrom::Offsets(BTreeMap::from([(0, 2)]))), [2, 3]);
    assert_eq!(read(ReadFrom::Offsets(BTreeMap::from([(0, 99)]))), [0_i64; 0]);
    // As in Kafka: from the first record that is not older, whatever follows it.
    assert_eq!(read(ReadFrom::Timestamp(250)), [1, 2, 3]);
    assert_eq!(read(ReadFrom::Timestamp(500)), [0_i64; 0]);
    let mut newest = from(ReadFrom::End);
    assert!(newest.read_to_end().unwrap().is_empty());
    write(&client, &orders, &[("a", 4, 0)]);
    assert_eq!(values(newest.read_to_end().unwrap()), [4]);
}

#[test]
fn an_undecodable_record_does_not_hide_others() {
    let (_, client) = embedded();
    let orders = topic(&client, "client-broken", 1);
    let texts = Topic::<String, String>::new("client-broken");
    let mut writer = client.writer().unwrap();
    for number in 0..5_i64 {
        match number {
            2 => writer.send(&texts, &"a".to_owned(), &"no number".to_owned(), 1).unwrap(),
            _ => writer.send(&orders, &"a".to_owned(), &number, 1).unwrap(),
        }
    }
    writer.flush().unwrap();

    let mut reader = client.reader(&orders).unwrap();
    let error = reader.read_to_end().unwrap_err().to_string();
    assert!(error.contains("client-broken-0 offset 2, its value"), "{error}");
    assert_eq!(values(reader.read_to_end().unwrap()), [0, 1, 3, 4]);

    let mut reader = client.reader(&orders).unwrap();
    let mut next = || reader.next(Duration::from_secs(5)).map(|read| read.unwrap().record.value);
    assert_eq!((next().unwrap(), next().unwrap()), (0, 1));
    assert!(next().unwrap_err().to_string().contains("offset 2"));
    assert_eq!((next().unwrap(), next().unwrap()), (3, 4));
}

/// Records after an open transaction cannot be read; records before it can.
#[test]
fn an_incomplete_read_is_an_error() {
    let (config, client) = embedded();
    let orders = topic(&client, "client-open", 1);
    write(&client, &orders, &[("a", 1, 1)]);
    let log = headwater::connect(&config).unwrap();
    let mut producer = log
        .producer(&ProducerConfig {
            transactional_id: Some("client-open".into()),
            transaction_timeout: Duration::from_secs(60),
            buffer_bytes_max: 1 << 20,
        })
        .unwrap();
    producer.init(Duration::from_secs(5)).unwrap();
    producer.begin().unwrap();
    let key = Some(&b"a"[..]);
    let value = Some(&[0, 0, 0, 0, 0, 0, 0, 9][..]);
    let topic = orders.name();
    producer
        .send(&Outgoing { topic, partition: Some(0), key, value, timestamp: 1, headers: None })
        .unwrap();
    producer.flush(Duration::from_secs(5)).unwrap();
    write(&client, &orders, &[("a", 2, 1)]);

    let mut reader = client.reader(&orders).unwrap();
    let error = reader.read_to_end().unwrap_err();
    assert!(matches!(error, ClientError::EndNotReached { end: 3, .. }), "{error}");
    assert_eq!(reader.next(Duration::ZERO).unwrap().unwrap().record.value, 1);
    producer.commit(Duration::from_secs(5)).unwrap();
    assert_eq!(values(reader.read_to_end().unwrap()), [9, 2]);
}

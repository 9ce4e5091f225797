//! Records are read however their producer has compressed them, with the times that the topic says.
//!
//! Runs where `HEADWATER_KAFKA=host:port` names a broker, as `./dev test` does; passes without
//! having run elsewhere.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_kafka::{KafkaConfig, KafkaTransport};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use runtime::transport::{ReaderConfig, Transport};
use streams_core::{Headers, OwnedRecord, TopicPartition};

use support::{create, unique};

const PATIENT: Duration = Duration::from_secs(20);
const COUNT: usize = 20_000;
const LONG_AGO: i64 = 1_000_000;

fn topic(transport: &KafkaTransport, name: &str, config: &[(&str, &str)]) -> Arc<str> {
    let name = unique(name);
    create(transport, &name, config);
    name
}

fn value(number: usize) -> String {
    format!("number {number} of values that are much alike")
}

fn write(broker: &str, topic: &str, compression: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("compression.type", compression)
        .set("linger.ms", "20")
        .create()
        .expect("a producer");
    for number in 0..COUNT {
        let (key, value) = (number.to_string(), value(number));
        let header = Header { key: "number", value: Some(&key) };
        let record = BaseRecord::to(topic).key(&key).payload(&value).timestamp(LONG_AGO);
        let record = record.headers(OwnedHeaders::new().insert(header));
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(PATIENT).expect("delivered");
}

fn read(transport: &KafkaTransport, topic: &Arc<str>) -> Vec<OwnedRecord> {
    let mut reader = transport.reader(&ReaderConfig::new(true)).expect("a reader");
    let partition = TopicPartition::new(Arc::clone(topic), 0);
    reader.add(&partition, 0).expect("added");
    let (mut records, until) = (Vec::new(), Instant::now() + PATIENT);
    while records.len() < COUNT && Instant::now() < until {
        for fetched in reader.poll(Duration::from_millis(100), 1_000).expect("polled") {
            let all = 0..fetched.batch.len();
            records.extend(all.map(|index| OwnedRecord::of(&*fetched.batch, index)));
        }
    }
    assert_eq!(reader.position(&partition), Some(COUNT as i64));
    records
}

#[test]
fn every_compression_is_read() {
    let Ok(broker) = std::env::var("HEADWATER_KAFKA") else { return };
    let transport = KafkaTransport::new(KafkaConfig::new(&broker).expect("host:port"));
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = topic(&transport, compression, &[]);
        write(&broker, &topic, compression);
        let records = read(&transport, &topic);
        assert_eq!(records.len(), COUNT, "{compression}");
        for (number, record) in records.iter().enumerate() {
            let (key, value) = (number.to_string(), value(number));
            let mut headers = Headers::new();
            headers.push("number", Some(key.as_bytes()));
            assert_eq!(record.offset, number as i64, "{compression}");
            assert_eq!(record.timestamp, LONG_AGO, "{compression}");
            assert_eq!(record.key.as_deref(), Some(key.as_bytes()), "{compression}");
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()), "{compression}");
            assert_eq!(record.headers, headers, "{compression}");
        }
    }
}

#[test]
fn the_broker_may_say_the_time() {
    let Ok(broker) = std::env::var("HEADWATER_KAFKA") else { return };
    let transport = KafkaTransport::new(KafkaConfig::new(&broker).expect("host:port"));
    let topic = topic(&transport, "append-time", &[("message.timestamp.type", "LogAppendTime")]);
    write(&broker, &topic, "lz4");
    let records = read(&transport, &topic);
    assert_eq!(records.len(), COUNT);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let is_recent = |record: &OwnedRecord| (now - 60_000..=now + 1_000).contains(&record.timestamp);
    assert!(records.iter().all(is_recent), "{:?}", records[0].timestamp);
}

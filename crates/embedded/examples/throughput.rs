//! How fast the log is: one producer and one fetcher on one thread, in transactions of 1,000
//! records.
//!
//! `cargo run --release -p headwater-embedded --example throughput [directory [read]]`; with `read`
//! the log is one that is verified when it is read, which is written in another way.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_embedded::{EmbeddedLog, LogOptions, Verify};
use runtime::transport::{
    MemberConfig, MemberEvent, NewTopic, Outgoing, ProducerConfig, Transport,
};

const RECORDS: usize = 3_000_000;
const PARTITIONS: i32 = 4;

fn main() {
    let log = match std::env::args().nth(1) {
        Some(directory) => options().open(directory).unwrap(),
        None => EmbeddedLog::in_memory(),
    };
    let topic: Arc<str> = "speed".into();
    let new =
        NewTopic { name: topic.clone(), partitions: PARTITIONS, replication: None, config: vec![] };
    log.admin().unwrap().create(&new, Duration::ZERO).unwrap();
    let mut producer = log
        .producer(&ProducerConfig {
            transactional_id: Some("speed".into()),
            transaction_timeout: Duration::from_secs(60),
            buffer_bytes_max: 16 << 20,
        })
        .unwrap();
    producer.init(Duration::ZERO).unwrap();
    let mut member = log
        .member(&MemberConfig {
            group_id: "speed".into(),
            instance_id: None,
            topics: vec![topic.clone()],
            session_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(1),
            read_committed: true,
            fetch_bytes_max: 16 << 20,
        })
        .unwrap();
    let mut fetcher = member.fetcher().unwrap();
    for event in member.poll(Duration::ZERO).unwrap() {
        let MemberEvent::Assigned(partitions) = event else { continue };
        member.assign(&partitions).unwrap();
        partitions.iter().for_each(|partition| fetcher.add(partition, None).unwrap());
    }
    let value = [b'x'; 132];
    let mut producing = Duration::ZERO;
    let mut fetching = Duration::ZERO;
    let mut fetched = 0;
    let mut bytes = 0;
    for round in 0..RECORDS / 1000 {
        let start = Instant::now();
        producer.begin().unwrap();
        for n in 0..1000 {
            let key = ((round * 1000 + n) as u64).to_be_bytes();
            let record = Outgoing {
                topic: &topic,
                partition: None,
                key: Some(&key),
                value: Some(&value),
                timestamp: 1,
                headers: None,
            };
            producer.send(&record).unwrap();
        }
        producer.commit(Duration::ZERO).unwrap();
        producing += start.elapsed();
        let start = Instant::now();
        while fetched < (round + 1) * 1000 {
            for part in fetcher.poll(Duration::ZERO, 1000).unwrap() {
                fetched += part.batch.len();
                bytes += (0..part.batch.len())
                    .map(|index| part.batch.record(index).value.map_or(0, <[u8]>::len))
                    .sum::<usize>();
            }
        }
        fetching += start.elapsed();
    }
    assert_eq!((fetched, bytes), (RECORDS, RECORDS * value.len()));
    report(producing, fetching);
}

fn options() -> LogOptions {
    match std::env::args().nth(2).as_deref() {
        Some("read") => LogOptions::default().verify(Verify::WhenRead),
        _ => LogOptions::default(),
    }
}

fn report(producing: Duration, fetching: Duration) {
    let rate = |time: Duration| RECORDS as f64 / time.as_secs_f64() / 1e6;
    println!("produce {:.2} M/s", rate(producing));
    println!("fetch   {:.2} M/s", rate(fetching));
    println!("both    {:.2} M/s", rate(producing + fetching));
}

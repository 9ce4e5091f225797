//! Logs worth damaging: topics with and without compaction; committed, aborted and open
//! transactions; offsets, headers, deleted records, big and small records.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headwater_embedded::{EmbeddedLog, LogOptions, Verify};
use runtime::ManualClock;
use runtime::transport::{
    Group, Member, NewTopic, OffsetCommit, Outgoing, Producer, ProducerConfig, Result, Transport,
};
use streams_core::{Headers, TopicPartition};

use super::Chance;
use super::support::member_of;

pub(crate) const NOW: Duration = Duration::ZERO;
pub(crate) const TOPICS: [(&str, i32, &str); 3] =
    [("orders", 3, "delete"), ("table", 2, "compact"), ("input", 4, "delete")];
/// How many logs there are to damage.
pub(crate) const LOGS: u64 = 8;

/// A log's options, under which nothing expires by itself and nothing waits.
pub(crate) fn options(verify: Verify, cache_bytes: usize) -> LogOptions {
    let clock = Arc::new(ManualClock::new(1_000));
    LogOptions::default().clock(clock).verify(verify).cache_bytes(cache_bytes)
}

pub(crate) fn producer(log: &EmbeddedLog, id: Option<&str>) -> Result<Box<dyn Producer>> {
    let mut producer = log.producer(&ProducerConfig {
        transactional_id: id.map(Into::into),
        transaction_timeout: Duration::from_secs(3600),
        buffer_bytes_max: 1 << 20,
    })?;
    producer.init(NOW)?;
    Ok(producer)
}

pub(crate) fn member(log: &EmbeddedLog) -> Result<Box<dyn Member>> {
    member_of("readers", log)
}

/// Creates log `number` below `directory`: its final state in `late`, its state half-way in
/// `early`. Odd ones are as `kill -9` leaves them.
pub(crate) fn build(directory: &Path, number: u64) {
    let work = directory.join("work");
    let mut chance = Chance(number);
    let verify = if number % 4 < 2 { Verify::WhenOpened } else { Verify::WhenRead };
    let log = options(verify, 20_000).open(&work).unwrap();
    create_topics(&log);
    let steps = 30 + chance.below(50);
    let mut writer = Some(Writer::new(&log));
    for step in 0..steps {
        if let Some(writer) = &mut writer {
            writer.step(&log, &mut chance);
        }
        if step == steps / 2 {
            copy(&work, &directory.join("early"));
        }
    }
    if let Some(writer) = &mut writer {
        writer.leave_open(&mut chance);
    }
    if number.is_multiple_of(2) {
        writer.take();
        drop(log);
        copy(&work, &directory.join("late"));
    } else {
        copy(&work, &directory.join("late"));
    }
}

pub(crate) fn create_topics(log: &EmbeddedLog) {
    for (name, partitions, policy) in TOPICS {
        let config = vec![("cleanup.policy".to_owned(), policy.to_owned())];
        let topic = NewTopic { name: name.into(), partitions, replication: None, config };
        log.admin().unwrap().create(&topic, NOW).unwrap();
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

struct Writer {
    producers: [Box<dyn Producer>; 2],
    plain: Box<dyn Producer>,
    member: Box<dyn Member>,
    group: Arc<dyn Group>,
    topics: [Arc<str>; 2],
    n: u64,
}

impl Writer {
    fn new(log: &EmbeddedLog) -> Self {
        let producers = ["one", "other"].map(|id| producer(log, Some(id)).unwrap());
        let plain = producer(log, None).unwrap();
        let mut member = member(log).unwrap();
        member.poll(NOW).unwrap();
        let group = member.group();
        Self { producers, plain, member, group, topics: ["orders".into(), "table".into()], n: 0 }
    }

    fn step(&mut self, log: &EmbeddedLog, chance: &mut Chance) {
        match chance.below(12) {
            0 => {
                let orders = TopicPartition::new("orders", chance.below(3) as i32);
                let before = chance.below(60) as i64;
                log.admin().unwrap().delete_records(&[(orders, before)], NOW).unwrap();
            }
            1 => log.maintain(1_000).unwrap(),
            2 | 3 => {
                self.send_some(None, chance);
                self.plain.flush(NOW).unwrap();
            }
            _ => self.transaction(chance),
        }
    }

    fn transaction(&mut self, chance: &mut Chance) {
        let which = chance.below(2) as usize;
        self.producers[which].begin().unwrap();
        self.send_some(Some(which), chance);
        self.member.poll(NOW).unwrap();
        let offsets = [OffsetCommit {
            partition: TopicPartition::new("input", chance.below(4) as i32),
            offset: self.n as i64,
            metadata: format!("after {}", self.n),
        }];
        let metadata = self.group.metadata().unwrap();
        let producer = &mut self.producers[which];
        producer.send_offsets(&offsets, &metadata, NOW).unwrap();
        if chance.below(4) == 0 {
            producer.flush(NOW).unwrap();
            producer.abort(NOW).unwrap();
        } else {
            producer.commit(NOW).unwrap();
        }
    }

    fn send_some(&mut self, which: Option<usize>, chance: &mut Chance) {
        for _ in 0..=chance.below(6) {
            self.n += 1;
            let len = match chance.below(20) {
                0 => 9_000 + chance.below(20_000),
                _ => chance.below(300),
            };
            let value = format!("{} {}", self.n, "x".repeat(len as usize));
            let key = format!("key {}", chance.below(12));
            let mut headers = Headers::new();
            headers.push("n", Some(&self.n.to_le_bytes()));
            let value = (chance.below(10) > 0).then_some(value);
            let (topic, partition) = match chance.below(2) {
                0 => (&self.topics[0], chance.below(3)),
                _ => (&self.topics[1], chance.below(2)),
            };
            let record = Outgoing {
                topic,
                partition: Some(partition as i32),
                key: Some(key.as_bytes()),
                value: value.as_ref().map(|value| value.as_bytes()),
                timestamp: self.n as i64,
                headers: (chance.below(3) == 0).then_some(&headers),
            };
            let producer = match which {
                Some(which) => &mut self.producers[which],
                None => &mut self.plain,
            };
            producer.send(&record).unwrap();
        }
    }

    fn leave_open(&mut self, chance: &mut Chance) {
        if chance.below(2) == 0 {
            self.producers[0].begin().unwrap();
            self.send_some(Some(0), chance);
            self.producers[0].flush(NOW).unwrap();
        }
    }
}

//! The purpose of the log: workers consume, produce and commit in transactions, through joins,
//! crashes, pauses beyond the session timeout and transaction time-outs. Each input record gives
//! one output record, in order.
//!
//! One thread drives everything under a manual clock; the seed determines the whole history.
#![allow(clippy::unwrap_used)]

mod ledger;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_embedded::{EmbeddedLog, LogOptions};
use ledger::support::Chance;
use runtime::ManualClock;
use runtime::transport::{
    ErrorKind, Fetcher, Group, GroupMetadata, Member, MemberConfig, MemberEvent, NewTopic,
    OffsetCommit, Outgoing, Producer, ProducerConfig, ReaderConfig, Result, Transport,
};
use streams_core::TopicPartition;

const PARTITIONS: i32 = 4;
const NOW: Duration = Duration::ZERO;
const SESSION: Duration = Duration::from_secs(10);
const TRANSACTION: Duration = Duration::from_secs(20);

struct Worker {
    log: EmbeddedLog,
    id: Arc<str>,
    member: Box<dyn Member>,
    group: Arc<dyn Group>,
    fetcher: Box<dyn Fetcher>,
    producer: Box<dyn Producer>,
    in_transaction: bool,
    /// The worker's identity when its transaction began. It may be stale, so that only the log can
    /// fence it.
    identity: Option<GroupMetadata>,
    /// The next offset to process; `None` until the committed offset is known.
    tasks: BTreeMap<TopicPartition, Option<i64>>,
}

fn producer(log: &EmbeddedLog, id: &Arc<str>) -> Box<dyn Producer> {
    let config = ProducerConfig {
        transactional_id: Some(id.clone()),
        transaction_timeout: TRANSACTION,
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = log.producer(&config).unwrap();
    producer.init(NOW).unwrap();
    producer
}

impl Worker {
    fn start(log: &EmbeddedLog, number: u64, is_static: bool) -> Self {
        let id: Arc<str> = format!("worker-{number}").into();
        let member = log
            .member(&MemberConfig {
                group_id: "group".into(),
                instance_id: is_static.then(|| id.clone()),
                topics: vec!["in".into()],
                session_timeout: SESSION,
                heartbeat_interval: SESSION / 10,
                read_committed: true,
                fetch_bytes_max: 1 << 20,
            })
            .unwrap();
        let group = member.group();
        let fetcher = member.fetcher().unwrap();
        let producer = producer(log, &id);
        Self {
            log: log.clone(),
            id,
            member,
            group,
            fetcher,
            producer,
            in_transaction: false,
            identity: None,
            tasks: BTreeMap::new(),
        }
    }

    /// Handles group events. An error means that this worker has been replaced.
    fn poll(&mut self) -> Result<()> {
        for event in self.member.poll(NOW)? {
            match event {
                MemberEvent::Assigned(partitions) => {
                    self.member.assign(&partitions).unwrap();
                    self.tasks.extend(partitions.into_iter().map(|p| (p, None)));
                }
                MemberEvent::Revoked(partitions) => {
                    self.commit();
                    self.give_up(&partitions);
                }
                MemberEvent::Lost(partitions) => {
                    self.rewind();
                    self.give_up(&partitions);
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.fetcher.remove(partition).unwrap();
            self.tasks.remove(partition);
        }
        self.member.unassign(partitions).unwrap();
    }

    /// Starts tasks whose committed offsets are known.
    fn begin_tasks(&mut self) {
        for (partition, next) in self.tasks.iter_mut().filter(|(_, next)| next.is_none()) {
            match self.group.committed(std::slice::from_ref(partition), NOW) {
                Ok(found) => {
                    let offset = found[0].offset.unwrap_or(0);
                    self.fetcher.add(partition, Some(offset)).unwrap();
                    *next = Some(offset);
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Retriable, "{e}"),
            }
        }
    }

    fn process(&mut self, records_max: usize) {
        self.begin_tasks();
        let mut failed = false;
        for fetched in self.fetcher.poll(NOW, records_max).unwrap() {
            let Some(next) = self.tasks.get_mut(&fetched.partition) else { continue };
            for index in 0..fetched.batch.len() {
                let record = fetched.batch.record(index);
                if !self.in_transaction {
                    self.producer.begin().unwrap();
                    self.in_transaction = true;
                    self.identity = self.group.metadata().ok();
                }
                let topic = &"out".into();
                let partition = Some(fetched.partition.partition);
                let out = Outgoing {
                    topic,
                    partition,
                    key: record.key,
                    value: record.value,
                    timestamp: 1,
                    headers: None,
                };
                failed |= self.producer.send(&out).is_err();
                *next = Some(record.offset + 1);
            }
        }
        if failed {
            self.rewind();
        }
    }

    fn commit(&mut self) {
        if self.in_transaction && self.try_commit().is_err() {
            self.rewind();
        }
    }

    fn try_commit(&mut self) -> Result<()> {
        let metadata = match self.identity.take() {
            Some(identity) => identity,
            None => self.group.metadata()?,
        };
        let offsets: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|(partition, next)| {
                let offset = (*next)?;
                Some(OffsetCommit { partition: partition.clone(), offset, metadata: String::new() })
            })
            .collect();
        self.producer.send_offsets(&offsets, &metadata, NOW)?;
        self.producer.commit(NOW)?;
        self.in_transaction = false;
        Ok(())
    }

    /// Aborts and goes back to the committed offsets.
    fn rewind(&mut self) {
        if self.in_transaction && self.producer.abort(NOW).is_err() {
            self.producer = producer(&self.log, &self.id);
        }
        self.in_transaction = false;
        for (partition, next) in &mut self.tasks {
            self.fetcher.remove(partition).unwrap();
            *next = None;
        }
    }
}

struct World {
    clock: Arc<ManualClock>,
    log: EmbeddedLog,
    workers: Vec<Worker>,
    input: Box<dyn Producer>,
    /// How many records each input partition has.
    sent: [u64; PARTITIONS as usize],
    is_static: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(0));
        let log = LogOptions::default().clock(clock.clone()).in_memory();
        for name in ["in", "out"] {
            let topic = NewTopic {
                name: name.into(),
                partitions: PARTITIONS,
                replication: None,
                config: vec![],
            };
            log.admin().unwrap().create(&topic, NOW).unwrap();
        }
        let input = producer(&log, &"input".into());
        let is_static = seed % 2 == 1;
        let workers = (0..3).map(|n| Worker::start(&log, n, is_static)).collect();
        Self { clock, log, workers, input, sent: [0; PARTITIONS as usize], is_static }
    }

    fn send_input(&mut self, chance: &mut Chance) {
        self.input.begin().unwrap();
        let is_committed = chance.below(4) > 0;
        for _ in 0..chance.below(20) {
            let partition = chance.below(PARTITIONS as u64) as usize;
            let value = match is_committed {
                true => self.sent[partition].to_string(),
                false => "aborted".to_owned(),
            };
            self.sent[partition] += u64::from(is_committed);
            let topic = &"in".into();
            let number = Some(partition as i32);
            let value = Some(value.as_bytes());
            let record = Outgoing {
                topic,
                partition: number,
                key: None,
                value,
                timestamp: 1,
                headers: None,
            };
            self.input.send(&record).unwrap();
        }
        if is_committed {
            self.input.commit(NOW).unwrap();
        } else {
            self.input.flush(NOW).unwrap();
            self.input.abort(NOW).unwrap();
        }
    }

    fn step(&mut self, chance: &mut Chance) {
        let index = chance.below(self.workers.len() as u64) as usize;
        match chance.below(100) {
            0..25 => {
                if self.workers[index].poll().is_err() {
                    self.restart(index);
                }
            }
            25..55 => self.workers[index].process(chance.below(15) as usize),
            55..75 => self.workers[index].commit(),
            75..88 => self.send_input(chance),
            88..93 => self.clock.advance(Duration::from_millis(chance.below(6000))),
            // Long enough for a session to expire, and sometimes a transaction.
            93..95 => self.clock.advance(Duration::from_secs(chance.below(25))),
            95..98 => self.restart(index),
            _ => {
                let worker = &mut self.workers[index];
                worker.commit();
                worker.member.leave(NOW).unwrap();
                self.restart(index);
            }
        }
    }

    /// Drops a worker without leaving, as in a crash, and starts another in its place.
    fn restart(&mut self, index: usize) {
        self.workers[index] = Worker::start(&self.log, index as u64, self.is_static);
    }

    /// Lets the workers finish.
    fn drain(&mut self) {
        for _ in 0..200 {
            self.clock.advance(Duration::from_millis(200));
            for index in 0..self.workers.len() {
                if self.workers[index].poll().is_err() {
                    self.restart(index);
                }
                self.workers[index].process(1000);
                self.workers[index].commit();
            }
        }
    }

    fn check(&self, seed: u64) {
        let mut reader = self.log.reader(&ReaderConfig::new(true)).unwrap();
        for (number, sent) in self.sent.iter().enumerate() {
            let partition = TopicPartition::new("out", number as i32);
            let values = ledger::read_all(&mut *reader, &partition);
            let expected: Vec<_> = (0..*sent).map(|n| n.to_string()).collect();
            assert!(values == expected, "seed {seed}, {partition}: {values:?}, {sent} expected");
        }
    }
}

#[test]
fn each_input_has_one_output_whatever_happens() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step(&mut chance);
        }
        world.drain();
        world.check(seed);
    }
}

//! Under a manual clock one thread drives everything: no call waits, whatever its time-out, and the
//! same steps give the same result.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_embedded::{EmbeddedLog, LogOptions};
use runtime::ManualClock;
use runtime::transport::{
    ErrorKind, Fetcher, Member, MemberConfig, MemberEvent, NewTopic, OffsetCommit, Outgoing,
    Producer, ProducerConfig, Transport,
};
use streams_core::TopicPartition;

/// Long enough that a test which really waited would not end.
const LONG: Duration = Duration::from_secs(3600);
const SESSION: Duration = Duration::from_secs(45);
const TRANSACTION: Duration = Duration::from_secs(60);

struct World {
    clock: Arc<ManualClock>,
    log: EmbeddedLog,
    topic: Arc<str>,
}

impl World {
    fn new(partitions: i32) -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let log = LogOptions::default().clock(clock.clone()).in_memory();
        let topic: Arc<str> = "in".into();
        let new = NewTopic { name: topic.clone(), partitions, replication: None, config: vec![] };
        log.admin().unwrap().create(&new, LONG).unwrap();
        Self { clock, log, topic }
    }

    fn member(&self) -> Box<dyn Member> {
        let config = MemberConfig {
            group_id: "group".into(),
            instance_id: None,
            topics: vec![self.topic.clone()],
            session_timeout: SESSION,
            heartbeat_interval: SESSION / 10,
            read_committed: true,
            fetch_bytes_max: 1 << 20,
        };
        self.log.member(&config).unwrap()
    }

    fn producer(&self, id: &str) -> Box<dyn Producer> {
        let config = ProducerConfig {
            transactional_id: Some(id.into()),
            transaction_timeout: TRANSACTION,
            buffer_bytes_max: 1 << 20,
        };
        let mut producer = self.log.producer(&config).unwrap();
        producer.init(LONG).unwrap();
        producer
    }

    fn send(&self, producer: &mut dyn Producer, partition: i32, text: &str) {
        let value = Some(text.as_bytes());
        let topic = &self.topic;
        let record = Outgoing {
            topic,
            partition: Some(partition),
            key: None,
            value,
            timestamp: 0,
            headers: None,
        };
        producer.send(&record).unwrap();
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), number)
    }
}

fn texts(fetcher: &mut dyn Fetcher) -> Vec<String> {
    let mut texts = Vec::new();
    for fetched in fetcher.poll(LONG, 100).unwrap() {
        for index in 0..fetched.batch.len() {
            let value = fetched.batch.record(index).value.unwrap();
            texts.push(format!("{}: {}", fetched.partition, String::from_utf8_lossy(value)));
        }
    }
    texts
}

#[test]
fn nothing_waits() {
    let started = Instant::now();
    let world = World::new(1);
    let mut member = world.member();
    assert!(matches!(&member.poll(LONG).unwrap()[..], [MemberEvent::Assigned(p)] if p.len() == 1));
    assert!(member.poll(LONG).unwrap().is_empty());
    member.assign(&[world.partition(0)]).unwrap();
    let mut fetcher = member.fetcher().unwrap();
    fetcher.add(&world.partition(0), None).unwrap();
    assert!(texts(&mut *fetcher).is_empty());
    let mut producer = world.producer("t");
    producer.begin().unwrap();
    let group = member.group();
    let offsets =
        [OffsetCommit { partition: world.partition(0), offset: 1, metadata: String::new() }];
    producer.send_offsets(&offsets, &group.metadata().unwrap(), LONG).unwrap();
    let error = group.committed(&[world.partition(0)], LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn open_transactions_time_out_to_the_moment() {
    let world = World::new(1);
    let mut member = world.member();
    member.poll(LONG).unwrap();
    member.assign(&[world.partition(0)]).unwrap();
    let mut fetcher = member.fetcher().unwrap();
    fetcher.add(&world.partition(0), None).unwrap();
    let mut slow = world.producer("slow");
    slow.begin().unwrap();
    world.send(&mut *slow, 0, "slow");
    slow.flush(LONG).unwrap();
    let mut other = world.producer("other");
    other.begin().unwrap();
    world.send(&mut *other, 0, "other");
    other.commit(LONG).unwrap();
    world.clock.advance(TRANSACTION - Duration::from_millis(1));
    assert!(texts(&mut *fetcher).is_empty(), "held back");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(texts(&mut *fetcher), ["in-0: other"]);
    assert_eq!(slow.commit(LONG).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(slow.begin().unwrap_err().kind(), ErrorKind::Fatal, "to be dropped");
}

#[test]
fn silent_members_expire_to_the_moment() {
    let world = World::new(2);
    let mut one = world.member();
    let mut two = world.member();
    one.poll(LONG).unwrap();
    two.poll(LONG).unwrap();
    world.clock.advance(SESSION - Duration::from_millis(1));
    assert!(two.poll(LONG).unwrap().is_empty());
    world.clock.advance(Duration::from_millis(1));
    let events = two.poll(LONG).unwrap();
    assert!(matches!(&events[..], [MemberEvent::Assigned(p)] if p.len() == 1), "{events:?}");
    assert_eq!(one.group().metadata().unwrap_err().kind(), ErrorKind::Fenced);
    let events = one.poll(LONG).unwrap();
    let [MemberEvent::Lost(lost)] = &events[..] else { panic!("{events:?}") };
    assert!(one.poll(LONG).unwrap().is_empty(), "not back before it has unassigned");
    assert!(two.poll(LONG).unwrap().is_empty());
    one.unassign(lost).unwrap();
    assert!(one.poll(LONG).unwrap().is_empty(), "a member again, waiting for its share");
    let events = two.poll(LONG).unwrap();
    let [MemberEvent::Revoked(revoked)] = &events[..] else { panic!("{events:?}") };
    assert!(one.poll(LONG).unwrap().is_empty(), "the other has not given it up");
    two.unassign(revoked).unwrap();
    assert_eq!(one.poll(LONG).unwrap(), [MemberEvent::Assigned(revoked.clone())]);
}

/// Checks that a member joining now gets all partitions at once.
fn check_given_away(world: &World, partitions: usize) {
    let mut heir = world.member();
    let events = heir.poll(LONG).unwrap();
    assert!(matches!(&events[..], [MemberEvent::Assigned(p)] if p.len() == partitions));
}

#[test]
fn a_member_that_has_unassigned_all_leaves_at_once() {
    let world = World::new(2);
    let mut member = world.member();
    let both = [world.partition(0), world.partition(1)];
    member.poll(LONG).unwrap();
    member.assign(&both).unwrap();
    member.unassign(&both).unwrap();
    assert!(member.poll(LONG).unwrap().is_empty(), "they are its own until it leaves");
    member.group().metadata().unwrap();
    member.leave(LONG).unwrap();
    check_given_away(&world, 2);
    assert!(member.poll(LONG).unwrap().is_empty());
    assert_eq!(member.group().metadata().unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn a_member_may_unassign_while_leaving() {
    let world = World::new(2);
    let mut member = world.member();
    let both = [world.partition(0), world.partition(1)];
    member.poll(LONG).unwrap();
    member.assign(&both).unwrap();
    member.leave(LONG).unwrap();
    assert_eq!(member.poll(LONG).unwrap(), [MemberEvent::Revoked(both.to_vec())]);
    // Still a member, so that it can commit what it has.
    let metadata = member.group().metadata().unwrap();
    let mut producer = world.producer("last");
    producer.begin().unwrap();
    let offsets = [OffsetCommit { partition: both[0].clone(), offset: 1, metadata: "".into() }];
    producer.send_offsets(&offsets, &metadata, LONG).unwrap();
    producer.commit(LONG).unwrap();
    member.unassign(&both).unwrap();
    check_given_away(&world, 2);
}

#[test]
fn a_leaving_member_that_is_dropped_is_gone() {
    let world = World::new(2);
    let mut member = world.member();
    member.poll(LONG).unwrap();
    member.assign(&[world.partition(0), world.partition(1)]).unwrap();
    member.leave(LONG).unwrap();
    drop(member);
    check_given_away(&world, 2);
}

#[test]
fn a_member_that_is_dropped_without_leaving_keeps_its_place_for_the_session() {
    let world = World::new(2);
    let mut member = world.member();
    member.poll(LONG).unwrap();
    drop(member);
    let mut heir = world.member();
    assert!(heir.poll(LONG).unwrap().is_empty());
    world.clock.advance(SESSION - Duration::from_millis(1));
    assert!(heir.poll(LONG).unwrap().is_empty());
    world.clock.advance(Duration::from_millis(1));
    assert!(matches!(&heir.poll(LONG).unwrap()[..], [MemberEvent::Assigned(p)] if p.len() == 2));
}

/// Members, producers and a reader take turns, with expiries in between; returns the history as
/// text.
fn history() -> Vec<String> {
    let world = World::new(5);
    let mut history = Vec::new();
    let mut members: Vec<_> = (0..3).map(|_| world.member()).collect();
    let mut producers: Vec<_> = (0..3).map(|n| world.producer(&format!("p{n}"))).collect();
    for round in 0..200_i32 {
        let index = (round * 7 % 3) as usize;
        world.clock.advance(Duration::from_secs(round as u64 % 29));
        let events = members[index].poll(LONG).unwrap();
        for event in &events {
            let (MemberEvent::Revoked(partitions) | MemberEvent::Lost(partitions)) = event else {
                continue;
            };
            members[index].unassign(partitions).unwrap();
        }
        let producer = &mut producers[index];
        producer.begin().unwrap();
        world.send(&mut **producer, round % 5, &format!("{round}"));
        let ended = if round % 4 == 0 { producer.abort(LONG) } else { producer.commit(LONG) };
        history.push(format!("{round} {events:?} {:?}", ended.map_err(|e| e.kind())));
    }
    let mut reader = world.log.reader(&runtime::transport::ReaderConfig::new(true)).unwrap();
    (0..5).for_each(|partition| reader.add(&world.partition(partition), 0).unwrap());
    for _ in 0..100 {
        for fetched in reader.poll(LONG, 3).unwrap() {
            history.push(format!("{fetched:?} {}", fetched.batch.record(0).offset));
        }
    }
    history
}

#[test]
fn the_same_steps_give_the_same_history() {
    let first = history();
    assert!(first.iter().any(|line| line.contains("Lost")), "expiries are among them");
    assert!(first.iter().any(|line| line.contains("Revoked")), "rebalances too");
    for _ in 0..5 {
        assert_eq!(history(), first);
    }
}

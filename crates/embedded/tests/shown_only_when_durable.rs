//! On disk, no reader sees a record, a commit or an offset before it would survive a crash.
//! Otherwise the reader could act on something that is lost later.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_embedded::{EmbeddedLog, LogOptions};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use runtime::transport::{
    Member, MemberConfig, NewTopic, OffsetCommit, Producer, ProducerConfig, ReaderConfig, Transport,
};
use streams_core::TopicPartition;

const NOW: Duration = Duration::ZERO;

type Hook = Arc<Mutex<Option<Box<dyn Fn() + Send>>>>;

/// A storage that calls an observer just before it syncs.
struct Watched {
    storage: InMemoryBackend,
    before_sync: Hook,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(look) = &*self.before_sync.lock().unwrap() {
            look();
        }
        self.storage.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write(offset, data)
    }
}

/// How many records of the partition a reader sees.
fn count(log: &EmbeddedLog, read_committed: bool) -> usize {
    let mut reader = log.reader(&ReaderConfig::new(read_committed)).unwrap();
    reader.add(&partition(), 0).unwrap();
    reader.poll(NOW, 100).unwrap().iter().map(|fetched| fetched.batch.len()).sum()
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn producer(log: &EmbeddedLog, id: Option<&str>) -> Box<dyn Producer> {
    let config = ProducerConfig {
        transactional_id: id.map(Into::into),
        transaction_timeout: Duration::from_secs(60),
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = log.producer(&config).unwrap();
    producer.init(NOW).unwrap();
    producer
}

fn member(log: &EmbeddedLog) -> Box<dyn Member> {
    let mut member = log
        .member(&MemberConfig {
            group_id: "group".into(),
            instance_id: None,
            topics: vec!["t".into()],
            session_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(1),
            read_committed: true,
            fetch_bytes_max: 1 << 20,
        })
        .unwrap();
    member.poll(NOW).unwrap();
    member
}

#[test]
fn nothing_is_seen_before_it_is_synced() {
    let before_sync = Hook::default();
    let storage = InMemoryBackend::new();
    let watched = Watched { storage, before_sync: before_sync.clone() };
    // Everything must fit into the cache, because the database cannot be read during a sync.
    let log = LogOptions::default().cache_bytes(1 << 20).open_on(watched).unwrap();
    let name = "t".into();
    let topic = NewTopic { name, partitions: 1, replication: None, config: vec![] };
    log.admin().unwrap().create(&topic, NOW).unwrap();
    let member = member(&log);
    let group = member.group();
    let looks = Arc::new(Mutex::new(0));
    // From now on the observer must see the log as it was before each sync.
    let expect = |committed: usize, all: usize, offset: Option<i64>| {
        let log = log.clone();
        let group = group.clone();
        let looks = looks.clone();
        *before_sync.lock().unwrap() = Some(Box::new(move || {
            *looks.lock().unwrap() += 1;
            assert_eq!((count(&log, true), count(&log, false)), (committed, all));
            if let Ok(found) = group.committed(&[partition()], NOW) {
                assert_eq!(found[0].offset, offset);
            }
        }));
    };

    let mut plain = producer(&log, None);
    expect(0, 0, None);
    support::send(&mut *plain, "t", b"x", 1);
    plain.flush(NOW).unwrap();

    expect(1, 1, None);
    let mut transactional = producer(&log, Some("t"));
    transactional.begin().unwrap();
    support::send(&mut *transactional, "t", b"x", 1);
    transactional.flush(NOW).unwrap();
    let metadata = group.metadata().unwrap();
    let offsets = [OffsetCommit { partition: partition(), offset: 1, metadata: "".into() }];
    transactional.send_offsets(&offsets, &metadata, NOW).unwrap();
    expect(1, 2, None);
    transactional.commit(NOW).unwrap();

    expect(2, 2, Some(1));
    let before = *looks.lock().unwrap();
    log.maintain(0).unwrap();
    support::send(&mut *plain, "t", b"x", 1);
    plain.flush(NOW).unwrap();
    assert!(before >= 3 && *looks.lock().unwrap() > before, "the observer was called");
    *before_sync.lock().unwrap() = None;
    assert_eq!((count(&log, true), count(&log, false)), (3, 3));
}

//! A log of version 1, which has no checksums, is rewritten when it is opened. Nothing is lost, and
//! a damaged one is refused.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use headwater_embedded::EmbeddedLog;
use redb::{Database, ReadableDatabase, TableDefinition};
use runtime::transport::{MemberConfig, ReaderConfig, Transport};
use streams_core::TopicPartition;

const NOW: Duration = Duration::ZERO;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A segment of version 1 with the values given; none has a key or headers.
fn segment(producer: i64, values: &[String]) -> Vec<u8> {
    let mut out = (values.len() as u32 - 1).to_le_bytes().to_vec();
    out.extend_from_slice(&producer.to_le_bytes());
    out.extend_from_slice(&[7i64.to_le_bytes(), 9i64.to_le_bytes()].concat());
    out.extend_from_slice(&(values.len() as u32).to_le_bytes());
    let mut start = 0;
    for (delta, value) in values.iter().enumerate() {
        let len = value.len() as u32;
        out.extend_from_slice(&7i64.to_le_bytes());
        out.extend_from_slice(
            &[delta as u32, start, u32::MAX, len, 0].map(u32::to_le_bytes).concat(),
        );
        start += len;
    }
    out.extend(values.iter().flat_map(|value| value.bytes()));
    out
}

fn place(offset: i64) -> Vec<u8> {
    [&[0; 4][..], &offset.to_be_bytes()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Topic `t` with one partition: values 0 to 9 at offsets 0 to 9, an aborted record and its marker,
/// values 12 to 15, the first record deleted.
fn write(path: &Path) {
    let values = |range: std::ops::Range<i64>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    let numbers =
        |numbers: &[i64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let topic = [1u32, 0, 0].map(u32::to_le_bytes).concat();
    let offset = [&5i64.to_le_bytes()[..], &text("five")].concat();
    let rows: [(&str, Vec<u8>, Vec<u8>); 9] = [
        ("meta", b"format".to_vec(), b"headwater log\0\0\0\x01\0\0\0".to_vec()),
        ("meta", b"producers".to_vec(), numbers(&[4])),
        ("topics", b"t".to_vec(), topic),
        ("partitions", vec![0; 4], numbers(&[1, 16, 0, 0])),
        ("segments", place(0), segment(-1, &values(0..10))),
        ("segments", place(10), segment(3, &["aborted".to_owned()])),
        ("segments", place(12), segment(-1, &values(12..16))),
        ("aborted", place(11), numbers(&[3, 10])),
        ("offsets", [text("g"), text("t"), vec![0; 4]].concat(), offset),
    ];
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(Definition::new("transactional")).unwrap();
    for (table, key, value) in rows {
        let mut table = transaction.open_table(Definition::new(table)).unwrap();
        table.insert(&key[..], &value[..]).unwrap();
    }
    transaction.commit().unwrap();
}

fn values(log: &EmbeddedLog) -> Vec<(i64, String)> {
    let partition = TopicPartition::new("t", 0);
    let mut reader = log.reader(&ReaderConfig::new(true)).unwrap();
    let (start, end) = reader.bounds(&partition, NOW).unwrap();
    assert_eq!((start, end), (1, 16));
    reader.add(&partition, start).unwrap();
    let mut values = Vec::new();
    while reader.position(&partition) < Some(end) {
        for fetched in reader.poll(NOW, 100).unwrap() {
            values.extend((0..fetched.batch.len()).map(|index| {
                let record = fetched.batch.record(index);
                let value = record.value.unwrap().to_vec();
                (record.offset, String::from_utf8(value).unwrap())
            }));
        }
    }
    values
}

#[test]
fn a_log_without_checksums_gets_them() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("log.redb");
    write(&database);
    let expected: Vec<_> = (1..10).chain(12..16).map(|n| (n, n.to_string())).collect();
    for round in ["rewritten", "opened again"] {
        let log = EmbeddedLog::open(directory.path()).unwrap();
        assert_eq!(values(&log), expected, "{round}");
        let config = MemberConfig {
            group_id: "g".into(),
            instance_id: None,
            topics: vec!["t".into()],
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(1),
            read_committed: true,
            fetch_bytes_max: 1 << 20,
        };
        let group = log.member(&config).unwrap().group();
        let offsets = group.committed(&[TopicPartition::new("t", 0)], NOW).unwrap();
        assert_eq!((offsets[0].offset, &*offsets[0].metadata), (Some(5), "five"), "{round}");
    }
    let format = {
        let database = Database::open(&database).unwrap();
        let meta = database.begin_read().unwrap().open_table(Definition::new("meta")).unwrap();
        meta.get(&b"format"[..]).unwrap().unwrap().value().to_vec()
    };
    assert_eq!(format[16..20], [2, 0, 0, 0]);
    assert!(!directory.path().join("log.redb.new").exists());
}

#[test]
fn a_damaged_old_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("log.redb");
    write(&database);
    let mut bytes = fs::read(&database).unwrap();
    let place = bytes.windows(10).position(|window| window == b"0123456789").unwrap();
    bytes[place] ^= 1;
    fs::write(&database, bytes).unwrap();
    let error = EmbeddedLog::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
}

//! On a real broker: an instance with a large table that is killed with `kill -9` under load works
//! again within two seconds, process start and rejoining the group included, and reads only the
//! changelog's tail.
//!
//! `HEADWATER_KEYS=1000000` is the table that `docs/benchmarks.md` speaks of; the default is a
//! tenth of it.

mod support;

use std::time::{Duration, Instant};

use headwater::client::Client;
use headwater::prelude::*;
use support::child::{Instance, run_child};
use support::{counts_by_key, kafka};

const PARTITIONS: i32 = 4;

/// Entries that RocksDB has not flushed are read again. It flushes after this time at the latest.
const FLUSHED_WITHIN: Duration = Duration::from_secs(33);

/// Not a test: the child process runs it.
#[test]
fn child() {
    run_child(counts_by_key);
}

struct Job {
    id: String,
    client: Client,
    keys: u64,
}

impl Job {
    /// Feeds each key of a range once.
    fn feed(&self, range: std::ops::Range<u64>) {
        let input = Topic::<String, u64>::new(format!("{}-in", self.id));
        let mut writer = self.client.writer().expect("a writer");
        for number in range {
            let key = format!("customer-{:08}", number % self.keys);
            writer.send(&input, &key, &number, 1_000 + number as i64).expect("sent");
        }
        writer.flush().expect("flushed");
    }

    /// Waits for this many more counts. Each must equal `expected` of its key, if given.
    fn counted(&self, reader: &mut headwater::client::TopicReader<String, u64>, many: u64) {
        let mut seen = 0;
        let until = Instant::now() + Duration::from_secs(120);
        while seen < many {
            assert!(Instant::now() < until, "only {seen} of {many} were counted");
            seen += u64::from(reader.next(Duration::from_millis(100)).expect("reads").is_some());
        }
    }
}

#[test]
fn within_two_seconds_from_the_tail() {
    let Some((config, client)) = kafka() else { return };
    let keys = std::env::var("HEADWATER_KEYS").map_or(100_000, |n| n.parse().expect("a number"));
    let job = Job { id: support::unique("large"), client, keys };
    for topic in ["in", "out"] {
        let topic = format!("{}-{topic}", job.id);
        let settings = [("retention.ms", "-1")];
        job.client.create_topic_with(&topic, PARTITIONS, &settings).expect("created");
    }
    let output = Topic::<String, u64>::new(format!("{}-out", job.id));
    let mut reader = job.client.reader(&output).expect("a reader");
    let state = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(&job.id, &config, &state.path().join("one"));
    job.feed(0..keys);
    job.counted(&mut reader, keys);
    // The tail: what came since RocksDB last flushed.
    let mut fed = keys;
    let until = Instant::now() + FLUSHED_WITHIN;
    while Instant::now() < until {
        job.feed(fed..fed + 1_000);
        job.counted(&mut reader, 1_000);
        fed += 1_000;
        std::thread::sleep(Duration::from_millis(100));
    }

    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        instance.kill();
        job.feed(fed..fed + 1_000);
        let began = Instant::now();
        instance.start_again();
        job.counted(&mut reader, 1);
        let first = began.elapsed();
        job.counted(&mut reader, 999);
        println!("first count after {first:.2?}, all partitions after {:.2?}", began.elapsed());
        slowest = slowest.max(first);
        fed += 1_000;
    }
    let restored: Vec<u64> = instance.log().lines().filter_map(restored).collect();
    println!("{keys} keys; tasks read {restored:?} changelog records each time they were ready");
    let most = restored.iter().skip(PARTITIONS as usize).max().expect("restarted");
    assert!(*most < keys / u64::from(PARTITIONS.unsigned_abs()) / 2, "{most} records read again");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(instance.stop(), "a graceful stop");
}

/// The number of changelog records that a task has read, if this log line says it.
fn restored(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("task ready")?;
    rest.split_once("restored=")?.1.split(' ').next()?.parse().ok()
}

//! The application of the tests on a real broker: re-key, count in a table, send every count.
//! Anything lost or done twice shows in the sequence of a key's counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::client::ReadRecord;
use headwater::errors::ClientError;
use headwater::prelude::*;
use headwater::spi::transport::ErrorKind;

pub const BUCKETS: u64 = 40;

pub struct Counting {
    pub id: String,
    pub client: Client,
    pub input: Topic<String, u64>,
    pub output: Topic<String, u64>,
}

impl Counting {
    pub fn new(id: String, client: Client) -> Self {
        let input = Topic::new(format!("{id}-in"));
        let output = Topic::new(format!("{id}-out"));
        // The records have timestamps in 1970: a broker with its default retention would delete
        // them.
        for topic in [input.name(), output.name()] {
            client.create_topic_with(topic, 4, &[("retention.ms", "-1")]).expect("created");
        }
        Self { id, client, input, output }
    }

    /// Feeds values `from..to` at about `rate` a second, calling `between` every fifth of a second.
    pub fn feed(&self, values: std::ops::Range<u64>, rate: u64, mut between: impl FnMut(u64)) {
        let mut writer = self.client.writer().expect("a writer");
        let started = Instant::now();
        let first = values.start;
        let step = (rate / 5).max(1);
        for value in values {
            let key = format!("key-{value}");
            let send = || writer.send(&self.input, &key, &value, 1 + value as i64);
            patiently(send, was_not_sent);
            if value % step == 0 {
                patiently(|| writer.flush(), |_| true);
                between(value);
                let due = Duration::from_secs_f64((value - first) as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
        }
        patiently(|| writer.flush(), |_| true);
    }

    /// Reads until everything is counted: each key's counts are 1, 2, 3, … without gap or repeat.
    pub fn check(&self, total: u64, within: Duration) {
        let mut reader = self.client.reader(&self.output).expect("a reader");
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut counted = 0;
        let deadline = Instant::now() + within;
        while counted < total {
            assert!(Instant::now() < deadline, "only {counted} of {total} were counted");
            let read = reader.next(Duration::from_millis(200)).expect("reads");
            let Some(ReadRecord { record, partition, offset, .. }) = read else { continue };
            let count = counts.entry(record.key.clone()).or_default();
            *count += 1;
            assert_eq!(record.value, *count, "{} at {partition} offset {offset}", record.key);
            counted += 1;
        }
        let extra = reader.next(Duration::from_secs(1)).expect("reads");
        assert!(extra.is_none(), "more counts than records: {extra:?}");
    }
}

/// Feeds a job while faults happen to its instances.
pub struct Feeder {
    job: Arc<Counting>,
    stop: Arc<AtomicBool>,
    /// Gives the number of records.
    thread: JoinHandle<u64>,
}

impl Feeder {
    /// Feeds `portion` records at a time, each portion at about `rate` a second.
    pub fn start(job: Counting, portion: u64, rate: u64) -> Self {
        let job = Arc::new(job);
        let stop = Arc::new(AtomicBool::new(false));
        let feeding = Arc::clone(&job);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut fed = 0;
            while !stopped.load(Ordering::Relaxed) {
                feeding.feed(fed..fed + portion, rate, |_| ());
                fed += portion;
            }
            fed
        });
        Self { job, stop, thread }
    }

    /// Stops, and checks the result of every record; returns their number. Blocks.
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let total = self.thread.join().expect("fed");
        self.job.check(total, Duration::from_secs(60));
        total
    }
}

pub fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = Topic::<String, u64>::new(format!("{id}-in"));
    app.stream(&input)
        .group_by("by-bucket", |_, value| format!("bucket-{}", value % BUCKETS))
        .count(&Table::new("counts"))
        .to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("a valid topology")
}

/// A broker under faults may be slow.
fn patiently(
    mut call: impl FnMut() -> Result<(), ClientError>,
    may_try_again: impl Fn(&ClientError) -> bool,
) {
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = call() {
        assert!(may_try_again(&error) && Instant::now() < until, "{error}");
    }
}

/// A record whose error is retriable was not sent.
fn was_not_sent(error: &ClientError) -> bool {
    matches!(error, ClientError::Transport(error) if error.kind() == ErrorKind::Retriable)
}

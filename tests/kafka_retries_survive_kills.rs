//! On a real broker: a service is unavailable for a while, one record of a hundred is poisoned, and
//! instances are killed with `kill -9` all the time. The service gets every accepted record once,
//! those of a key in order, and the dead letters are the poisoned records.
//!
//! It is unavailable for ten seconds. With `HEADWATER_LONG`, it is a minute, with four times as
//! many records, which takes five minutes.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater::client::ReadRecord;
use headwater::prelude::*;
use headwater::streams::ProcessError;
use support::child::{Instance, random_pause, run_child};
use support::{kafka, unique};

const RATE: u64 = 200;
/// No two poisoned records have the same key: each blocks its key until it is a dead letter.
const KEYS: u64 = 997;

fn is_long() -> bool {
    std::env::var_os("HEADWATER_LONG").is_some()
}

fn records() -> u64 {
    if is_long() { 12_000 } else { 3_000 }
}

/// With waits of at least four seconds from the seventh attempt on, or 1.6 from the fifth on, a
/// record is retried for longer than the service is unavailable.
fn attempts() -> u32 {
    if is_long() { 24 } else { 13 }
}

fn is_poisoned(number: u64) -> bool {
    number % 100 == 7
}

/// Whether the service is unavailable. The outage starts five seconds after the application's id
/// was created; the id ends with that moment in microseconds, so all processes know it.
fn is_away(id: &str, now: i64) -> bool {
    let made_at = id.rsplit('-').next().and_then(|micros| micros.parse::<i64>().ok());
    let since_ms = now - made_at.expect("a unique id") / 1_000;
    let back_ms = if is_long() { 65_000 } else { 15_000 };
    (5_000..back_ms).contains(&since_ms)
}

fn topology(id: &str) -> headwater::Topology {
    let first = Duration::from_millis(100);
    let max = Duration::from_secs(if is_long() { 5 } else { 2 });
    let policy = ErrorPolicy::retry(attempts(), Backoff::exponential(first, max).jitter(20))
        .hold_key()
        .then(ErrorPolicy::dead_letter(format!("{id}-dead")));
    let app = Builder::new(id);
    let input = Topic::<String, u64>::new(format!("{id}-in"));
    let consumed = input.consumed().on_error(policy);
    let records = app.stream(consumed).shared();
    let counts = records.clone().group_by_key().count(&Table::new("counts"));
    counts.to(&Topic::new(format!("{id}-counts")));
    let id = id.to_owned();
    let output = Topic::<String, u64>::new(format!("{id}-out"));
    records
        .process::<String, u64>("call")
        .each(move |record, context| match () {
            () if is_poisoned(record.value) => Err(ProcessError::new("poisoned")),
            () if is_away(&id, context.now()) => Err(ProcessError::new("the service is away")),
            () => context.forward(record),
        })
        .to(&output);
    app.build().expect("a valid topology")
}

/// Not a test: the child processes run it.
#[test]
fn child() {
    run_child(topology);
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_by_kill_9() {
    let Some((config, client)) = kafka() else { return };
    let id = unique("retries");
    // The records have timestamps in 1970: a broker with its default retention would delete them.
    for topic in ["in", "out", "counts", "dead"] {
        let name = format!("{id}-{topic}");
        client.create_topic_with(&name, 4, &[("retention.ms", "-1")]).expect("created");
    }
    let state = tempfile::tempdir().expect("a directory");
    let mut instances =
        [1, 2].map(|number| Instance::start(&id, &config, &state.path().join(number.to_string())));
    let kills = feed_and_kill(&id, &client, &mut instances);
    assert!(kills >= if is_long() { 30 } else { 6 }, "only {kills} kills");
    check(&id, &client);
    for instance in instances {
        assert!(instance.stop(), "a graceful stop");
    }
}

/// Feeds all records, killing instances in turn; returns the number of kills.
fn feed_and_kill(id: &str, client: &Client, instances: &mut [Instance; 2]) -> usize {
    let input = Topic::<String, u64>::new(format!("{id}-in"));
    let mut writer = client.writer().expect("a writer");
    let started = Instant::now();
    let mut kills = 0;
    let mut next_kill = started + Duration::from_secs(4);
    for number in 0..records() {
        let key = format!("key-{}", number % KEYS);
        writer.send(&input, &key, &number, 1 + number as i64).expect("sent");
        if number % (RATE / 5) != 0 {
            continue;
        }
        writer.flush().expect("written");
        if Instant::now() >= next_kill {
            let victim = &mut instances[kills % 2];
            assert!(victim.is_running(), "an instance ended by itself: {}", victim.log());
            victim.kill();
            victim.start_again();
            kills += 1;
            next_kill =
                Instant::now() + Duration::from_millis(500) + random_pause(Duration::from_secs(1));
        }
        let due = Duration::from_secs_f64(number as f64 / RATE as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    writer.flush().expect("written");
    kills
}

fn check(id: &str, client: &Client) {
    let (good, poisoned): (Vec<_>, Vec<_>) =
        (0..records()).partition(|number| !is_poisoned(*number));
    let called = read(client, &format!("{id}-out"), good.len());
    let mut expected = BTreeMap::<String, Vec<u64>>::new();
    for number in good {
        expected.entry(format!("key-{}", number % KEYS)).or_default().push(number);
    }
    assert_eq!(numbers(&called), expected, "of each key in its order");
    let counts = numbers(&read(client, &format!("{id}-counts"), called.len()));
    for (key, counts) in counts {
        let all = expected.get(&key).map_or(0, Vec::len) as u64;
        assert_eq!(counts, (1..=all).collect::<Vec<_>>(), "{key}: attempts that failed count not");
    }
    let letters = read(client, &format!("{id}-dead"), poisoned.len());
    let attempts = (attempts() + 1).to_string().into_bytes();
    for letter in &letters {
        assert_eq!(letter.headers.last("headwater.attempts"), Some(Some(&attempts[..])));
    }
    let mut dead: Vec<_> = letters.iter().map(|letter| letter.record.value).collect();
    dead.sort_unstable();
    assert_eq!(dead, poisoned);
}

/// All committed records of a topic: this many, and no more.
fn read(client: &Client, topic: &str, number: usize) -> Vec<ReadRecord<String, u64>> {
    let mut reader = client.reader(&Topic::<String, u64>::new(topic)).expect("a reader");
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut all = Vec::new();
    while all.len() < number {
        let found = all.len();
        assert!(Instant::now() < deadline, "{topic} has only {found} of {number} records");
        all.extend(reader.next(Duration::from_millis(200)).expect("reads"));
    }
    all.extend(reader.next(Duration::from_secs(1)).expect("reads"));
    assert_eq!(all.len(), number, "{topic} has more than that");
    all
}

fn numbers(records: &[ReadRecord<String, u64>]) -> BTreeMap<String, Vec<u64>> {
    let mut all = BTreeMap::<String, Vec<u64>>::new();
    for ReadRecord { record, .. } in records {
        all.entry(record.key.clone()).or_default().push(record.value);
    }
    all
}

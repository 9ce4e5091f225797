//! Three instances of a stateful, repartitioned, windowed application in simulated worlds where
//! everything goes wrong: nothing is lost, doubled or torn, and the same seed is the same run.
//!
//! `HEADWATER_SEEDS=10000 cargo test --release --test exactly_once_in_simulated_worlds`;
//! `HEADWATER_SEED=7` runs that seed alone and prints its history.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::prelude::*;
use testkit::{Dice, Incident, Outcome, Simulation, simulate};

const RECORDS: u64 = 150;
const TRACE: tracing_subscriber::filter::LevelFilter =
    tracing_subscriber::filter::LevelFilter::DEBUG;

fn events() -> Topic<String, u64> {
    Topic::new("events")
}

fn topology() -> headwater::Topology {
    let app = Builder::new("world");
    app.on_error(ErrorPolicy::dead_letter("dead"));
    let events = app.stream(&events()).shared();
    events.clone().to(&Topic::new("copies"));
    events.clone().group_by_key().count(&Table::new("counts")).to(&Topic::new("counts"));
    let long = Duration::from_secs(1_000_000);
    events
        .clone()
        .group_by_key()
        .window(Tumbling::of(Duration::from_secs(1)))
        .count(&Table::new("minutes"))
        .closed()
        .map(|window, count| (format!("{}@{}", window.key, window.start), count))
        .to(&Topic::new("closed"));
    app.agent("marker", &self::events())
        .writes(&Table::<String, u64>::new("marked"))
        .sends(&begun())
        .sends(&marked())
        .run(mark);
    events
        .group_by("by-bucket", |_, value| format!("bucket-{}", value % 5))
        .window(Tumbling::of(Duration::from_secs(1)).grace(long))
        .reduce(&Table::new("sums"), |sum, value| sum + value)
        .updates()
        .map(|window, sum| (format!("{}@{}", window.key, window.start), sum))
        .to(&Topic::new("sums"));
    app.build().expect("valid")
}

fn marked() -> Topic<String, u64> {
    Topic::new("marked")
}

fn begun() -> Topic<String, u64> {
    Topic::new("begun")
}

/// Records that the agent rejects, after half of its work.
fn is_bad(value: u64) -> bool {
    value % 13 == 7
}

/// Numbers the records of each key, and sometimes spends a while on one.
async fn mark(mut events: Records<String, u64>, cx: Context) -> AgentResult {
    while let Some(Record { key, value, .. }) = events.next().await {
        let number = cx.table(&Table::new("marked")).update(&key, |number| *number += 1)?;
        cx.send(&begun(), key.clone(), number)?;
        let mut turns = value % 4;
        std::future::poll_fn(|context| {
            turns = turns.saturating_sub(1);
            context.waker().wake_by_ref();
            if turns == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        cx.send(&marked(), key, number)?;
        if is_bad(value) {
            return Err("chosen by the record's number".into());
        }
    }
    Ok(())
}

fn event(dice: &mut Dice, number: u64) -> Record<String, u64> {
    let at = 1_000_000_000_000 + dice.below(5_000) as i64;
    Record::new(format!("user-{}", dice.below(7)), number, at)
}

fn world(seed: u64) -> Simulation {
    let mut simulation = Simulation::new(seed, topology)
        .config(|config| {
            config.worker_threads = 1 + seed as usize % 2;
            // Longer than a session, too: then it is not the log that ends a fenced instance's
            // work.
            config.transaction_timeout = Duration::from_secs(2 + seed / 2 % 2 * 8);
        })
        .feed(&events(), RECORDS, event);
    for topic in ["events", "copies", "counts", "sums", "closed", "begun", "marked", "dead"] {
        simulation = simulation.topic(topic, 4);
    }
    simulation.check(|outcome| Ok(judge(outcome)?))
}

/// Returns what is wrong with the output, if anything.
fn judge(outcome: &Outcome) -> Result<(), String> {
    let sent = outcome.committed(&events()).map_err(|error| error.to_string())?;
    // Each reader of a topic decides for itself: records that the agent rejects are processed by
    // the operators.
    for (topic, is_in) in [("copies", (|_| true) as fn(u64) -> bool), ("dead", is_bad)] {
        let numbers = values(outcome, &Topic::new(topic))?.into_iter().map(|(_, number)| number);
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        if numbers != (0..RECORDS).filter(|n| is_in(*n)).collect::<Vec<_>>() {
            return Err(format!("{topic}: {numbers:?}"));
        }
    }
    let mut counted = BTreeMap::<String, u64>::new();
    for (user, count) in values(outcome, &Topic::new("counts"))? {
        let before = counted.insert(user.clone(), count).unwrap_or(0);
        if before + 1 != count {
            return Err(format!("{user} was counted from {before} to {count}"));
        }
    }
    let mut good = BTreeMap::<String, u64>::new();
    for record in sent.iter().filter(|record| !is_bad(record.value)) {
        *good.entry(record.key.clone()).or_default() += 1;
    }
    for topic in [begun(), marked()] {
        let mut marks = BTreeMap::<String, u64>::new();
        for (user, mark) in values(outcome, &topic)? {
            let before = marks.insert(user.clone(), mark).unwrap_or(0);
            if before + 1 != mark {
                return Err(format!("{}: {user} with {mark} after {before}", topic.name()));
            }
        }
        if marks != good {
            return Err(format!("{}: {marks:?}, and not {good:?}", topic.name()));
        }
    }
    let closed = values(outcome, &Topic::new("closed"))?;
    let windows: BTreeMap<_, _> = closed.iter().cloned().collect();
    if windows.len() != closed.len() {
        return Err(format!("some window was closed twice: {closed:?}"));
    }
    let mut sums = BTreeMap::<String, u64>::new();
    for record in &sent {
        *counted.entry(record.key.clone()).or_default() -= 1;
        let value = record.value;
        let window = record.timestamp / 1_000 * 1_000;
        *sums.entry(format!("bucket-{}@{window}", value % 5)).or_default() += value;
    }
    let last: BTreeMap<_, _> = values(outcome, &Topic::new("sums"))?.into_iter().collect();
    if last != sums || counted.values().any(|left| *left != 0) {
        return Err(format!("sums: {last:?}, and not {sums:?}; counts are off by {counted:?}"));
    }
    Ok(())
}

fn values(outcome: &Outcome, topic: &Topic<String, u64>) -> Result<Vec<(String, u64)>, String> {
    let records = outcome.committed(topic).map_err(|error| error.to_string())?;
    Ok(records.into_iter().map(|record| (record.key, record.value)).collect())
}

/// If some fault never happens in the worlds, they prove nothing about it.
const STRIKES_MIN: u64 = 20;

#[test]
fn nothing_is_lost_doubled_or_torn() {
    if is_one_seed() {
        // The instances' log lines, between the lines of the history.
        tracing_subscriber::fmt().with_ansi(false).without_time().with_max_level(TRACE).init();
    }
    let summary = simulate(0..2_000, world).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{summary}");
    if summary.seeds >= 2_000 {
        for incident in Incident::ALL {
            let strikes = summary.incidents.count(incident);
            assert!(strikes >= STRIKES_MIN, "{incident:?} struck {strikes} times only");
        }
    }
}

/// Whether a single world is requested, with its history. Other worlds would write to the same log.
fn is_one_seed() -> bool {
    std::env::var_os("HEADWATER_SEED").is_some()
}

#[test]
fn one_seed_prints_its_history() {
    if is_one_seed() {
        return;
    }
    let me = std::env::current_exe().expect("this program");
    let printed = std::process::Command::new(me)
        .env("HEADWATER_SEED", "7")
        .arg("--nocapture")
        .output()
        .expect("it runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let text = String::from_utf8_lossy(&printed.stdout);
    for once in ["topic created topic=events ", "topic created topic=world-sums-changelog "] {
        assert_eq!(text.matches(once).count(), 1, "{once:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    if is_one_seed() {
        return;
    }
    for seed in 1_000..1_020 {
        let histories = [world(seed), world(seed)].map(|world| {
            let outcome = world.run();
            let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
            let topics = ["events", "marked", "closed", "counts", "sums", "world-counts-changelog"];
            let written = topics.map(|topic| outcome.committed_raw(topic).expect("readable"));
            (outcome.history(), written)
        });
        assert!(histories[0] == histories[1], "seed {seed}");
    }
}

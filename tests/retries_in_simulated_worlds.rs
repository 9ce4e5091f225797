//! In simulated worlds where everything goes wrong, records of three instances fail in operators
//! and in an agent, because a service is unavailable or they are poisoned. No record is lost or
//! done twice, those of a key keep their order, and the dead letters are the poisoned ones, each
//! tried as often as configured.
//!
//! `HEADWATER_SEEDS=10000 cargo test --release --test retries_in_simulated_worlds`;
//! `HEADWATER_SEED=7` runs that seed alone and prints its history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::errors::Retry;
use headwater::prelude::*;
use headwater::streams::ProcessError;
use testkit::{Dice, Outcome, Simulation, simulate};

const RECORDS: u64 = 150;
const KEYS: u64 = 11;
/// The simulated world begins here.
const START: i64 = 1_000_000_000_000;
/// The service is unavailable between these moments, by the date of the instance.
const AWAY: std::ops::Range<i64> = START + 1_000..START + 25_000;
/// The same for the second service.
const AWAY_TOO: std::ops::Range<i64> = START..START + 32_000;
/// Long enough for a service to come back: more than a minute.
const ATTEMPTS: u32 = 40;

fn events() -> Topic<String, u64> {
    Topic::new("events")
}

fn is_poisoned(number: u64) -> bool {
    number % 20 == 7
}

fn retry() -> Retry {
    let first = Duration::from_millis(100);
    let max = Duration::from_secs(2);
    ErrorPolicy::retry(ATTEMPTS, Backoff::exponential(first, max).jitter(20))
}

/// Counts each record, then calls the service with it. After a repartition topic, where order is
/// not kept, it calls a second one.
fn topology(tried: &Tried) -> headwater::Topology {
    let app = Builder::new("world");
    app.on_error(retry().then(ErrorPolicy::dead_letter("lost")));
    let held = retry().hold_key().then(ErrorPolicy::dead_letter("dead"));
    let consumed = events().consumed().on_error(held.clone());
    let agent = app.agent("caller", consumed).sends(&by_agent());
    let tried = Arc::clone(tried);
    agent.run(move |events, cx| call(events, cx, Arc::clone(&tried)));
    let events = app.stream(events().consumed().on_error(held)).shared();
    events.clone().group_by_key().count(&Table::new("counts")).to(&Topic::new("counts"));
    let called = events
        .process::<String, u64>("call")
        .each(|record, context| match () {
            () if is_poisoned(record.value) => Err(ProcessError::new("poisoned")),
            () if AWAY.contains(&context.now()) => Err(ProcessError::new("the service is away")),
            () => context.forward(record),
        })
        .shared();
    called.clone().to(&Topic::new("called"));
    called
        .repartition("by-number")
        .process::<String, u64>("call-again")
        .each(|record, context| match AWAY_TOO.contains(&context.now()) && record.value % 3 == 0 {
            true => Err(ProcessError::new("the service is away")),
            false => context.forward(record),
        })
        .to(&Topic::new("called-again"));
    app.build().expect("valid")
}

fn by_agent() -> Topic<String, u64> {
    Topic::new("called-by-agent")
}

/// How often the agent has tried each record, over all instances.
type Tried = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Fails a few times with some records, and every time with poisoned ones.
async fn call(mut events: Records<String, u64>, cx: Context, tried: Tried) -> AgentResult {
    while let Some(Record { key, value, .. }) = events.next().await {
        cx.send(&by_agent(), key, value)?;
        let mut tried = tried.lock().map_err(|_| "another instance panicked")?;
        let times = tried.entry(value).or_default();
        *times += 1;
        if is_poisoned(value) || *times <= value % 5 {
            return Err("not this time".into());
        }
    }
    Ok(())
}

fn event(_: &mut Dice, number: u64) -> Record<String, u64> {
    Record::new(format!("user-{}", number % KEYS), number, START + number as i64)
}

fn world(seed: u64) -> Simulation {
    let tried = Tried::default();
    let mut simulation = Simulation::new(seed, move || topology(&tried))
        .config(|config| config.worker_threads = 1 + seed as usize % 2)
        .turns(3_000)
        .feed(&events(), RECORDS, event);
    for topic in ["events", "counts", "called", "called-again", "called-by-agent", "dead", "lost"] {
        simulation = simulation.topic(topic, 4);
    }
    simulation.check(|outcome| Ok(judge(outcome)?))
}

/// Returns what is wrong with the output, if anything.
fn judge(outcome: &Outcome) -> Result<(), String> {
    let mut expected = BTreeMap::<String, Vec<u64>>::new();
    for number in (0..RECORDS).filter(|number| !is_poisoned(*number)) {
        expected.entry(format!("user-{}", number % KEYS)).or_default().push(number);
    }
    for topic in ["called", "called-by-agent"] {
        let called = by_key(outcome, topic)?;
        if called != expected {
            return Err(format!("{topic} in the order {called:?}, and not {expected:?}"));
        }
    }
    let mut again = by_key(outcome, "called-again")?;
    again.values_mut().for_each(|numbers| numbers.sort_unstable());
    if again != expected {
        return Err(format!("called again: {again:?}, and not {expected:?}"));
    }
    for (key, counts) in by_key(outcome, "counts")? {
        let number = expected.get(&key).map_or(0, Vec::len) as u64;
        if counts != (1..=number).collect::<Vec<_>>() {
            return Err(format!("{key} was counted as {counts:?}"));
        }
    }
    dead_letters(outcome)?;
    nothing_waits(outcome, "world-events-retries-changelog")?;
    nothing_waits(outcome, "world-by-number-repartition-retries-changelog")
}

fn dead_letters(outcome: &Outcome) -> Result<(), String> {
    let letters = outcome.committed_raw("dead").map_err(|error| error.to_string())?;
    let mut numbers = Vec::new();
    for letter in letters {
        let attempts = letter.headers.last("headwater.attempts").flatten().map(<[u8]>::to_vec);
        if attempts != Some((ATTEMPTS + 1).to_string().into_bytes()) {
            return Err(format!("a dead letter was tried {attempts:?} times"));
        }
        let value = letter.value.as_deref().and_then(|value| value.try_into().ok());
        numbers.push(value.map(u64::from_be_bytes).ok_or("a dead letter without a number")?);
    }
    numbers.sort_unstable();
    // Of the operators and of the agent.
    let poisoned = (0..RECORDS).filter(|number| is_poisoned(*number));
    if numbers != poisoned.flat_map(|number| [number; 2]).collect::<Vec<_>>() {
        return Err(format!("the dead letters are {numbers:?}"));
    }
    let lost = outcome.committed_raw("lost").map_err(|error| error.to_string())?;
    if lost.is_empty() { Ok(()) } else { Err(format!("{} gave up too early", lost.len())) }
}

/// The last record of each key of a changelog is a tombstone.
fn nothing_waits(outcome: &Outcome, changelog: &str) -> Result<(), String> {
    let rows = outcome.committed_raw(changelog).map_err(|error| error.to_string())?;
    let last: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key, row.value)).collect();
    let left = last.values().filter(|value| value.is_some()).count();
    match left {
        0 => Ok(()),
        left => Err(format!("{left} rows are left in {changelog}")),
    }
}

fn by_key(outcome: &Outcome, topic: &str) -> Result<BTreeMap<String, Vec<u64>>, String> {
    let records = outcome.committed(&Topic::<String, u64>::new(topic));
    let mut all = BTreeMap::<String, Vec<u64>>::new();
    for record in records.map_err(|error| error.to_string())? {
        all.entry(record.key).or_default().push(record.value);
    }
    Ok(all)
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    let summary = simulate(0..150, world).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{summary}");
}

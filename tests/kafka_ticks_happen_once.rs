//! On a real broker each tick happens once per application, although its instances are killed with
//! `kill -9` at random moments, again and again.

mod support;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::config::TableStorage;
use headwater::prelude::*;
use support::child::{Instance, random_pause, run_child};
use support::ticks::{all_are_there, chains};
use support::{kafka, unique};

const INTERVAL: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// The streams of ticks, and how many there must be.
const LEAST: [(&str, Duration, usize); 2] = [("often", INTERVAL, 350), ("cron", SECOND, 35)];

/// Not a test: the child processes run it.
#[test]
fn child() {
    run_child(topology);
}

/// A tick, and its number according to a table.
type Counted = (Tick, u64);

fn out(id: &str) -> Topic<String, Counted> {
    Topic::json(format!("{id}-out"))
}

fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    for name in ["often", "cron"] {
        let ticks = match name {
            "often" => app.every(name, INTERVAL),
            _ => app.cron(name, "* * * * * *", "Europe/Berlin"),
        };
        let count = Table::<String, u64>::new(format!("{name}-count"));
        let table = count.clone();
        let counting = ticks.missed(Missed::All).process::<String, Counted>(name).table(&count);
        let counted = counting.each(move |tick, context| {
            let mut table = context.table(&table)?;
            let number = table.get(&tick.key)?.unwrap_or(0) + 1;
            table.put(&tick.key, &number)?;
            context.forward(Record::new(tick.key, (tick.value, number), tick.timestamp))
        });
        counted.to(&out(id));
    }
    app.build().expect("a valid topology")
}

#[test]
fn by_kill_9() {
    let Some((config, client)) = kafka() else { return };
    let config = Config { tables: Some(TableStorage::Memory), ..config };
    let id = unique("ticks");
    client.create_topic(out(&id).name(), 1).expect("created");
    let state = tempfile::tempdir().expect("a directory");
    let start =
        |number: &u32| Instance::start(&id, &config, &state.path().join(number.to_string()));
    let mut instances = [1, 2].each_ref().map(start);
    let mut reader = client.reader(&out(&id)).expect("a reader");
    let mut streams = BTreeMap::<String, Vec<Counted>>::new();
    let mut kills = 0;
    let until = Instant::now() + 40 * SECOND;
    let mut next_kill = Instant::now() + 4 * SECOND;
    let is_enough = |streams: &BTreeMap<String, Vec<Counted>>| {
        LEAST
            .iter()
            .all(|(name, _, least)| streams.get(*name).is_some_and(|all| all.len() >= *least))
    };
    // The instances killed last may still be starting.
    while Instant::now() < until || !is_enough(&streams) && Instant::now() < until + 60 * SECOND {
        if Instant::now() >= next_kill && Instant::now() < until {
            let victim = &mut instances[kills % 2];
            assert!(victim.is_running(), "an instance ended by itself:\n{}", victim.log());
            victim.kill();
            victim.start_again();
            kills += 1;
            next_kill = Instant::now() + SECOND / 2 + random_pause(2 * SECOND);
        }
        while let Some(read) = reader.next(Duration::ZERO).expect("reads") {
            streams.entry(read.record.key).or_default().push(read.record.value);
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(kills >= 10, "only {kills} kills");
    assert!(is_enough(&streams), "too few ticks: {streams:?}");
    for (name, interval, _) in LEAST {
        let counted = streams.remove(name).unwrap_or_default();
        let numbers: Vec<_> = counted.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, (1..=counted.len() as u64).collect::<Vec<_>>(), "{name}");
        let ticks = chains(counted.into_iter().map(|(tick, _)| tick).collect()).expect(name);
        assert!(all_are_there(&ticks, interval), "{name}: {ticks:?}");
    }
    for instance in instances {
        assert!(instance.stop(), "a graceful stop");
    }
}

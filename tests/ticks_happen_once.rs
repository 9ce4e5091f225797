//! Ticks of an interval and of a cron expression happen once per application, however its instances
//! are killed, stopped and started, and whatever else goes wrong.
//!
//! `HEADWATER_SEEDS=2000 cargo test --release --test ticks_happen_once` runs more worlds.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater::Topology;
use headwater::prelude::*;
use headwater::topics::Timestamp;
use runtime::manual::{ManualApp, ManualAppParts};
use runtime::transport::Transport;
use runtime::{Clock, ManualClock};
use support::ticks::{all_are_there, chains};
use testkit::faults::SurvivingStores;
use testkit::{Dice, Incident, Outcome, Simulation, simulate};

/// 2001-09-09T01:46:40Z.
const START: Timestamp = 1_000_000_000_000;
const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(15);

fn ticks() -> Topic<String, Tick> {
    Topic::json("ticks")
}

fn counts() -> Topic<String, u64> {
    Topic::new("counts")
}

/// Each kind, and one that counts itself in a table.
fn topology() -> Topology {
    let app = Builder::new("clockwork");
    for (name, missed) in [("all", Missed::All), ("one", Missed::One), ("none", Missed::None)] {
        let input = app.every(name, INTERVAL).missed(missed).shared();
        input.clone().to(&ticks());
        let count = Table::<String, u64>::new(format!("{name}-count"));
        let table = count.clone();
        let counting = input.process::<String, u64>(name).table(&count);
        let counted = counting.each(move |tick, context| {
            let mut table = context.table(&table)?;
            let count = table.get(&tick.key)?.unwrap_or(0) + 1;
            table.put(&tick.key, &count)?;
            context.forward(Record::new(tick.key, count, tick.timestamp))
        });
        counted.to(&counts());
    }
    app.cron("cron", "* * * * * *", "Europe/Berlin").missed(Missed::All).to(&ticks());
    app.build().expect("valid")
}

fn judge(outcome: &Outcome) -> Result<(), Box<dyn std::error::Error>> {
    let mut streams = BTreeMap::<String, Vec<Tick>>::new();
    for record in outcome.committed(&ticks())? {
        assert_eq!(record.timestamp, record.value.time);
        streams.entry(record.key).or_default().push(record.value);
    }
    assert_eq!(streams.keys().collect::<Vec<_>>(), ["all", "cron", "none", "one"]);
    let mut numbers = BTreeMap::<String, Vec<u64>>::new();
    for record in outcome.committed(&counts())? {
        numbers.entry(record.key).or_default().push(record.value);
    }
    let is_right_date = outcome.incidents().count(Incident::DateSet) == 0;
    for (name, ticks) in streams {
        let ticks = chains(ticks)?;
        if let Some(numbers) = numbers.remove(&name) {
            // As many, one after the other.
            assert_eq!(numbers, (1..=ticks.len() as u64).collect::<Vec<_>>(), "{name}");
        }
        // Ticks after the date was set by a day are not checked here.
        if is_right_date && name == "all" {
            assert!(ticks.len() >= 1_000, "{} ticks", ticks.len());
            assert!(all_are_there(&ticks, INTERVAL), "{ticks:?}");
        } else if is_right_date && name == "cron" {
            assert!(ticks.len() >= 20 && all_are_there(&ticks, SECOND), "{ticks:?}");
        } else {
            assert!(ticks.len() >= 20, "{} ticks of {name}", ticks.len());
        }
    }
    Ok(())
}

#[test]
fn in_simulated_worlds_of_two_instances() {
    let summary = simulate(0..60, |seed| {
        let mut simulation = Simulation::new(seed, topology).instances(2);
        simulation = simulation.topic("ticks", 3).topic("counts", 3);
        simulation.check(judge)
    });
    let summary = summary.unwrap_or_else(|error| panic!("{error}"));
    println!("{summary}");
    for incident in [Incident::Killed, Incident::Stopped, Incident::Zombie, Incident::DateSet] {
        assert!(summary.incidents.count(incident) > 0, "{incident:?}");
    }
}

/// Two slots for instances, driven by the test.
struct Places {
    id: String,
    config: Config,
    log: Arc<dyn Transport>,
    clock: ManualClock,
    places: [(Option<ManualApp>, SurvivingStores); 2],
}

impl Places {
    fn turn(&mut self, number: usize, dice: &mut Dice) {
        let (place, stores) = &mut self.places[number];
        match (place.as_mut(), dice.below(100)) {
            // Killed, whatever it was doing.
            (Some(_), 0) => *place = None,
            (Some(app), 1) => app.stop(),
            (Some(app), _) if app.has_left() => *place = None,
            (Some(app), _) => {
                (0..app.components()).for_each(|one| app.turn(one).expect("goes on"));
            }
            (None, 0..20) => {
                let instance_id = Some(format!("i{number}").into());
                let config = Config { instance_id, ..self.config.clone() };
                let started = ManualApp::start(ManualAppParts {
                    topology: Arc::new(clockwork(&self.id)),
                    transport: Arc::clone(&self.log),
                    config,
                    stores: Arc::new(stores.clone()),
                    clock: Arc::new(self.clock.clone()),
                });
                *place = Some(started.expect("starts"));
            }
            (None, _) => {}
        }
    }
}

fn out(id: &str) -> Topic<String, Tick> {
    Topic::json(format!("{id}-out"))
}

fn clockwork(id: &str) -> Topology {
    let app = Builder::new(id);
    app.every("every", SECOND).missed(Missed::All).to(&out(id));
    app.cron("cron", "* * * * * *", "America/New_York").missed(Missed::All).to(&out(id));
    app.cron("tens", "*/10 * * * * *", "UTC").to(&out(id));
    app.build().expect("valid")
}

#[test]
fn a_thousand_seconds_while_instances_are_killed_and_join() {
    let clock = ManualClock::new(START);
    let log = embedded::LogOptions::default().clock(Arc::new(clock.clone())).in_memory();
    let id = support::unique("clockwork");
    let config = Config {
        commit_interval: Some(Duration::from_millis(100)),
        session_timeout: 2 * SECOND,
        heartbeat_interval: Duration::from_millis(100),
        transaction_timeout: 2 * SECOND,
        request_timeout: Duration::from_millis(500),
        ..Config::default()
    };
    let log: Arc<dyn Transport> = Arc::new(log);
    let topic = runtime::transport::NewTopic {
        name: Arc::clone(out(&id).name()),
        partitions: 1,
        replication: None,
        config: vec![("retention.ms".to_owned(), "-1".to_owned())],
    };
    log.admin().and_then(|mut admin| admin.create(&topic, SECOND)).expect("created");
    let mut places = Places { id, config, log, clock: clock.clone(), places: Default::default() };
    let mut dice = Dice::new(7);
    while clock.now() < START + 1_030_000 {
        places.turn(dice.below(2), &mut dice);
        clock.advance(Duration::from_millis(20));
    }
    let mut streams = BTreeMap::<String, Vec<Tick>>::new();
    for (name, tick) in places.committed() {
        streams.entry(name).or_default().push(tick);
    }
    for (name, interval) in [("every", 1), ("cron", 1), ("tens", 10)] {
        let ticks = chains(streams.remove(name).unwrap_or_default()).expect(name);
        // "tens" skips all missed ticks except the last.
        let is_whole = name == "tens" || all_are_there(&ticks, interval * SECOND);
        assert!(is_whole, "{name}: {ticks:?}");
        let span = ticks.last().map_or(0, |last| last.time - ticks[0].time);
        assert!(span >= 1_000_000 - 10_000, "{name}: {span} ms");
        if name != "tens" {
            assert!(ticks.len() >= 1_000, "{name}: {} ticks", ticks.len());
        }
    }
}

impl Places {
    /// The records that a read_committed reader sees.
    fn committed(&self) -> Vec<(String, Tick)> {
        use runtime::transport::ReaderConfig;
        let partition = headwater::topics::TopicPartition::new(Arc::clone(out(&self.id).name()), 0);
        let mut reader = self.log.reader(&ReaderConfig::new(true)).expect("a reader");
        let (begin, _) = reader.bounds(&partition, SECOND).expect("known");
        reader.add(&partition, begin).expect("added");
        let mut found = Vec::new();
        let codec = out(&self.id);
        loop {
            let fetched = reader.poll(Duration::ZERO, 10_000).expect("polls");
            if fetched.is_empty() {
                return found;
            }
            for batch in fetched.iter().map(|fetched| &fetched.batch) {
                for record in (0..batch.len()).map(|index| batch.record(index)) {
                    let key = codec.key_codec().decode(record.key).expect("a name");
                    let tick = codec.value_codec().decode(record.value).expect("a tick");
                    found.push((key, tick));
                }
            }
        }
    }
}

/// The output while instances start and stop, in the order in which it was written.
async fn with_threads(guarantee: Guarantee) -> Vec<Tick> {
    let (config, client) = support::embedded();
    let config = Config { guarantee, ..config };
    let id = support::unique("threads");
    client.create_topic(out(&id).name(), 1).expect("created");
    let name = id.clone();
    let often = move || {
        let app = Builder::new(name.clone());
        app.every("often", Duration::from_millis(20)).missed(Missed::All).to(&out(&name));
        app.build().expect("valid")
    };
    let mut instances = support::Instances::new(often, config);
    instances.start();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        instances.start();
        tokio::time::sleep(Duration::from_millis(300)).await;
        instances.stop_first().await;
    }
    instances.stop_all().await;
    let mut reader = client.reader(&out(&id)).expect("a reader");
    let mut ticks = Vec::new();
    while let Some(read) = reader.next(Duration::from_millis(200)).expect("reads") {
        ticks.push(read.record.value);
    }
    ticks
}

#[tokio::test(flavor = "multi_thread")]
async fn of_instances_with_threads_that_come_and_go() {
    let ticks = chains(with_threads(Guarantee::ExactlyOnce).await).expect("one after the other");
    assert!(ticks.len() >= 100, "{} ticks in 2.4 s", ticks.len());
    assert!(all_are_there(&ticks, Duration::from_millis(20)), "{ticks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_loses_none() {
    let mut ticks = with_threads(Guarantee::AtLeastOnce).await;
    ticks.sort_by_key(|tick| tick.time);
    ticks.dedup();
    let ticks = chains(ticks).expect("one after the other");
    assert!(ticks.len() >= 100, "{} ticks in 2.4 s", ticks.len());
    assert!(all_are_there(&ticks, Duration::from_millis(20)), "{ticks:?}");
}

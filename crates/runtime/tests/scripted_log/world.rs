//! An application on a scripted log: it is turned by hand, and everything it asks of the log and of
//! its stores is written down in one order.
//!
//! It counts the records of `in` by key into the table `counts`, and sends each count to `out`.
//! Every topic has one partition.

use std::sync::Arc;
use std::time::Duration;

use headwater_runtime::manual::{ManualApp, ManualAppParts};
use headwater_runtime::transport::{MemberEvent, NewTopic};
use headwater_runtime::{AppError, Config, Guarantee, ManualClock, Status};
use streams_core::{Builder, OwnedRecord, Table, Topic, Topology};

use crate::script::{Script, in_0};
use crate::stores::ScriptedStores;

/// The changelog of `counts`.
pub(crate) const CHANGELOG: &str = "shop-counts-changelog";

/// The name of the task's store.
pub(crate) const STORE: &str = "in-0";

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) stores: ScriptedStores,
    clock: ManualClock,
    config: Config,
    app: Option<ManualApp>,
}

/// Kafka's member ids look like this.
pub(crate) const MEMBER: &str = "member-1";

impl World {
    /// A log with empty topics, and an application that is not started.
    pub(crate) fn new(guarantee: Guarantee) -> Self {
        let script = Script::default();
        for name in ["in", "out"] {
            let config = Vec::new();
            let topic = NewTopic { name: name.into(), partitions: 1, replication: None, config };
            script.lock().create(&topic);
        }
        script.set_member_id(Some(MEMBER));
        let config = Config {
            guarantee,
            instance_id: Some("i".into()),
            restore_threads: 1,
            connect_timeout: Duration::from_millis(500),
            ..Config::default()
        };
        let stores = ScriptedStores::new(&script);
        Self { script, stores, clock: ManualClock::new(1_000_000), config, app: None }
    }

    /// An application under exactly-once whose task runs, and has committed where it began.
    pub(crate) fn running() -> Self {
        let mut world = Self::new(Guarantee::ExactlyOnce);
        world.start();
        world.turn_until_committed(0);
        world.script.forget_requests();
        world
    }

    /// Starts the application and assigns its task to it.
    pub(crate) fn start(&mut self) {
        let parts = ManualAppParts {
            topology: Arc::new(topology()),
            config: self.config.clone(),
            transport: Arc::new(self.script.clone()),
            stores: Arc::new(self.stores.clone()),
            clock: Arc::new(self.clock.clone()),
        };
        self.app = Some(ManualApp::start(parts).expect("started"));
        self.script.member_event(MemberEvent::Assigned(vec![in_0("in")]));
    }

    /// Ends the application as the death of its process would.
    pub(crate) fn kill(&mut self) {
        self.app = None;
    }

    /// Asks for a graceful stop.
    pub(crate) fn stop(&self) {
        self.app.as_ref().unwrap().stop();
    }

    /// Gives every component its turn, and lets 10 ms pass.
    pub(crate) fn turn(&mut self) -> Result<(), AppError> {
        let app = self.app.as_mut().expect("it runs");
        (0..app.components()).try_for_each(|component| app.turn(component))?;
        self.clock.advance(Duration::from_millis(10));
        Ok(())
    }

    /// Lets this much time pass, turn by turn.
    pub(crate) fn run_for(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 10 {
            self.turn().expect("it goes on");
        }
    }

    /// Turns until a condition holds. Fails if that takes more than two minutes.
    pub(crate) fn turn_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..12_000 {
            if is_so(self) {
                return;
            }
            self.turn().expect("it goes on");
        }
        panic!("waited in vain: {what}\n{:#?}", self.script.requests());
    }

    /// Turns until the application fails.
    pub(crate) fn turn_until_it_fails(&mut self) -> AppError {
        for _ in 0..12_000 {
            if let Err(error) = self.turn() {
                return error;
            }
        }
        panic!("it did not fail\n{:#?}", self.script.requests());
    }

    /// Turns until everything in `in` before this offset is committed and applied.
    pub(crate) fn turn_until_committed(&mut self, offset: i64) {
        self.turn_until(&format!("a commit up to {offset}"), |world| {
            let committed = world.script.committed_offset("in");
            committed.and_then(|committed| committed.offset).is_some_and(|at| at >= offset)
        });
    }

    pub(crate) fn status(&self) -> Status {
        self.app.as_ref().unwrap().status().snapshot()
    }

    /// Appends committed records with this key to `in`.
    pub(crate) fn input(&self, keys: &[&str]) {
        keys.iter().for_each(|key| self.append("in", key, Some(key.as_bytes())));
    }

    /// Appends a committed record to a topic.
    pub(crate) fn append(&self, topic: &str, key: &str, value: Option<&[u8]>) {
        self.script.change(topic, |partition| {
            partition.records.push(OwnedRecord {
                offset: partition.end,
                timestamp: 1_000,
                key: Some(key.as_bytes().into()),
                value: value.map(Into::into),
                ..OwnedRecord::default()
            });
            partition.end += 1;
        });
    }

    /// Appends a committed entry to the changelog.
    pub(crate) fn append_count(&self, key: &str, count: u64) {
        let mut value = Vec::new();
        let topic = Topic::<String, u64>::new("out");
        topic.value_codec().encode(&count, &mut value).unwrap();
        self.append(CHANGELOG, key, Some(&value));
    }

    /// The committed records of `out`.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let topic = Topic::<String, u64>::new("out");
        let visible = self.script.visible("out");
        let state = self.script.lock();
        let records = state.partitions[&in_0("out")].records.iter();
        let records = records.filter(|record| visible.contains(&record.offset));
        let decoded = records.map(|record| {
            let key = topic.key_codec().decode(record.key.as_deref()).unwrap();
            (key, topic.value_codec().decode(record.value.as_deref()).unwrap())
        });
        decoded.collect()
    }
}

fn topology() -> Topology {
    let app = Builder::new("shop");
    app.stream(&Topic::<String, String>::new("in"))
        .group_by_key()
        .count(&Table::new("counts"))
        .to(&Topic::new("out"));
    app.build().expect("valid")
}

/// What [`World::counts`] is expected to be.
pub(crate) fn counts(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

//! Shared by the facade's tests.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod calm_run;
pub mod child;
pub mod cluster;
pub mod counting;
pub mod lab;
pub mod log;
pub mod ticks;
pub mod waiting_agents;

use std::time::{Duration, Instant};

use headwater::client::Client;
use headwater::errors::AppError;
use headwater::status::{Status, StatusHandle};
use headwater::{App, Builder, Config, Table, Topic, Topology};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A configuration on this process's log in memory, and a client of it.
pub fn embedded() -> (Config, Client) {
    let config = Config { broker: "embedded:".to_owned(), ..Config::default() };
    let client = headwater::client(&config).expect("a log");
    (config, client)
}

/// An application that counts the records of `{id}-in` by key, and sends the counts to `{id}-out`.
pub fn counts_by_key(id: &str) -> Topology {
    let app = Builder::new(id);
    app.stream(&Topic::<String, u64>::new(format!("{id}-in")))
        .group_by_key()
        .count(&Table::new("counts"))
        .to(&Topic::<String, u64>::new(format!("{id}-out")));
    app.build().expect("a valid topology")
}

/// Instances of one application in this process.
pub struct Instances {
    topology: Box<dyn Fn() -> Topology>,
    config: Config,
    running: Vec<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    status: StatusHandle,
    ended: JoinHandle<Result<(), AppError>>,
}

impl Instances {
    pub fn new(topology: impl Fn() -> Topology + 'static, config: Config) -> Self {
        Self { topology: Box::new(topology), config, running: Vec::new() }
    }

    pub fn start(&mut self) {
        let app = App::new((self.topology)(), self.config.clone());
        let status = app.status();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        self.running.push(Running { stop, status, ended });
    }

    /// Stops the oldest instance gracefully.
    pub async fn stop_first(&mut self) {
        stop(self.running.remove(0)).await;
    }

    pub async fn stop_all(&mut self) {
        for running in self.running.drain(..) {
            stop(running).await;
        }
    }

    pub fn status(&self) -> Vec<Status> {
        self.running.iter().map(|running| running.status.snapshot()).collect()
    }
}

async fn stop(running: Running) {
    let _ = running.stop.send(());
    running.ended.await.expect("no panic").expect("a graceful stop");
}

/// A configuration for the real broker that `HEADWATER_KAFKA=host:port` names, with tables in
/// RocksDB, and a client of it. Without one the calling test passes without running.
pub fn kafka() -> Option<(Config, Client)> {
    let Ok(broker) = std::env::var("HEADWATER_KAFKA") else {
        println!("skipped: HEADWATER_KAFKA names no broker");
        return None;
    };
    let config = Config { broker: format!("kafka://{broker}"), ..Config::default() };
    let client = headwater::client(&config).expect("a client");
    Some((config, client))
}

/// How often to go through a matrix of faults: `HEADWATER_ROUNDS`, or once.
pub fn rounds() -> usize {
    std::env::var("HEADWATER_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"))
}

/// The settings with which a changelog created by a test passes for the application's own.
pub const CHANGELOG: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("delete.retention.ms", "86400000"),
    ("message.timestamp.type", "CreateTime"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

/// Waits until something is true.
pub async fn soon(what: &str, within: Duration, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_true() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A name that no earlier run has used on the same broker.
pub fn unique(what: &str) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{what}-{}", since.expect("after 1970").as_micros())
}

//! Shared by the examples: the command line and small input data.
#![allow(missing_docs, reason = "for the examples only")]

pub mod books;
pub mod orders;
pub mod prices;
pub mod shop;

use std::error::Error;
use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::status::StatusHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// `--broker kafka://host:port` (default: an embedded log in memory), `--dir DIR` (an embedded log
/// on disk), `--state-dir DIR` (the state directory; tables are in RocksDB if that is compiled).
pub fn config() -> Result<Config> {
    let mut config = Config::default().with_env()?;
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--broker" => config.broker = value()?,
            "--dir" => config.broker = format!("embedded:{}", value()?),
            "--state-dir" => config.state_dir = Some(value()?.into()),
            other => {
                let usage = "[--broker URL | --dir DIR] [--state-dir DIR]";
                return Err(format!("unknown argument {other}; there are {usage}").into());
            }
        }
    }
    if config.state_dir.is_some() && cfg!(not(feature = "rocksdb")) {
        config.tables = Some(headwater::config::TableStorage::Memory);
    }
    logging();
    Ok(config)
}

/// Creates a topic that never deletes its records: the examples' records have old timestamps, and a
/// broker would delete them.
pub fn create_topic(client: &Client, name: &str, partitions: i32) -> Result {
    client.create_topic_with(name, partitions, &[("retention.ms", "-1")])?;
    Ok(())
}

/// Warnings of the runtime on standard error.
fn logging() {
    let level = if std::env::var_os("VERBOSE").is_some() { "info" } else { "warn" };
    let to = std::io::stderr;
    tracing_subscriber::fmt().with_env_filter(level).with_writer(to).without_time().init();
}

/// An application that runs beside the example's code.
pub struct RunningApp {
    pub status: StatusHandle,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<std::result::Result<(), AppError>>,
}

/// Starts an application; it runs until it is stopped, or until it fails.
pub fn start(topology: Topology, config: &Config) -> RunningApp {
    let app = App::new(topology, config.clone());
    let (stop, stopped) = oneshot::channel();
    let status = app.status();
    let ended = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    RunningApp { status, stop, ended }
}

impl RunningApp {
    /// Stops gracefully; an error that ended the application earlier comes out here.
    pub async fn stop(self) -> Result {
        let _ = self.stop.send(());
        Ok(self.ended.await??)
    }

    /// Whether it has ended by itself, which it does only with an error.
    pub fn has_failed(&self) -> bool {
        self.ended.is_finished()
    }
}

/// Reads committed records of `topic` until `enough` returns true for all of them, or a minute has
/// passed.
pub async fn read_until<K: Clone + 'static, V: Clone + 'static>(
    client: &Client,
    topic: &Topic<K, V>,
    enough: impl Fn(&[Record<K, V>]) -> bool,
) -> Result<Vec<Record<K, V>>> {
    let mut reader = client.reader(topic)?;
    let mut records = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !enough(&records) {
        if Instant::now() > deadline {
            return Err(format!("only {} records in {topic:?} after 60 s", records.len()).into());
        }
        while let Some(read) = reader.next(Duration::ZERO)? {
            records.push(read.record);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(records)
}

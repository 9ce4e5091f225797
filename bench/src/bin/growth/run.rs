//! Instances of an application on an embedded log, with their threads.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bench::tables;
use embedded::EmbeddedLog;
use runtime::transport::{ProducerConfig, Transport};
use runtime::{App, Client, Config, StatusHandle};
use testkit::Dice;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cpu;

/// Processed in each run.
pub(crate) const RECORDS: u64 = 2_000_000;
const KEYS: u64 = 100_000;
/// Records written before the writer checks the readers' progress.
const BATCH: u64 = 10_000;
/// How far the writer may be ahead of the readers, in records.
const AHEAD_MAX: u64 = 400_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// The cost of a run: the CPU time of everything except the writer of its input.
pub(crate) struct GrowthRun {
    pub(crate) starting: Duration,
    pub(crate) idle_second: Duration,
    pub(crate) processing: Duration,
}

impl GrowthRun {
    /// A count per key, exactly once, committed as the default configuration has it.
    pub(crate) fn measured(partitions: u64, instances: u64) -> Self {
        let log = EmbeddedLog::in_memory();
        let client = Client::new(Arc::new(log.clone()));
        for topic in ["clicks", "out"] {
            client.create_topic(topic, partitions as i32).expect("the log takes topics");
        }
        let runtime = Runtime::new().expect("threads");
        let begin = cpu::others();
        let apps = Apps::start(&runtime, &log, instances);
        apps.wait(|apps| apps.running() == partitions);
        let starting = cpu::others() - begin;
        // Wait until the work of the start is done.
        sleep(Duration::from_millis(500));
        let begin = cpu::others();
        sleep(Duration::from_secs(1));
        let idle_second = cpu::others() - begin;
        let begin = cpu::others();
        apps.feed(&log);
        apps.wait(|apps| apps.processed() == RECORDS);
        let processing = cpu::others() - begin;
        apps.stop(&runtime);
        Self { starting, idle_second, processing }
    }
}

struct Apps {
    statuses: Vec<StatusHandle>,
    running: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Apps {
    fn start(runtime: &Runtime, log: &EmbeddedLog, instances: u64) -> Self {
        let (stop, _) = watch::channel(false);
        let mut apps = Self { statuses: Vec::new(), running: JoinSet::new(), stop };
        for instance in 0..instances {
            let instance_id = Some(format!("i{instance}").into());
            let config = Config { instance_id, ..Config::default() };
            let app = App::new(tables::counts(), config, Arc::new(log.clone()));
            apps.statuses.push(app.status());
            let mut stopped = apps.stop.subscribe();
            let run = async move {
                let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
                app.run(shutdown).await.expect("it runs and stops");
            };
            apps.running.spawn_on(run, runtime.handle());
        }
        apps
    }

    /// How many tasks process records.
    fn running(&self) -> u64 {
        let running = self.statuses.iter().filter(|status| status.is_running());
        running.map(|status| status.snapshot().tasks.len() as u64).sum()
    }

    fn processed(&self) -> u64 {
        let tasks = self.statuses.iter().flat_map(|status| status.snapshot().tasks);
        tasks.map(|(_, task)| task.processed).sum()
    }

    fn wait(&self, until: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !until(self) {
            assert!(begin.elapsed() < PATIENCE, "{} of {RECORDS}", self.processed());
            sleep(Duration::from_millis(20));
        }
    }

    /// Writes the input on this thread, whose CPU time does not count.
    fn feed(&self, log: &EmbeddedLog) {
        let mut dice = Dice::new(61);
        let batches: Vec<_> =
            (0..16).map(|_| tables::clicks_of((0..BATCH).map(|_| dice.roll() % KEYS))).collect();
        let config = ProducerConfig {
            transactional_id: None,
            transaction_timeout: Duration::from_secs(10),
            buffer_bytes_max: 64 << 20,
        };
        let mut producer = log.producer(&config).expect("the log has producers");
        producer.init(Duration::ZERO).expect("it begins");
        let topic: Arc<str> = "clicks".into();
        for (batch, written) in batches.iter().cycle().zip((0..RECORDS).step_by(BATCH as usize)) {
            self.wait(|apps| written < apps.processed() + AHEAD_MAX);
            batch.send(&mut *producer, &topic, |timestamp| timestamp);
        }
    }

    fn stop(mut self, runtime: &Runtime) {
        self.stop.send_replace(true);
        runtime.block_on(async {
            while let Some(ended) = self.running.join_next().await {
                ended.expect("no instance panics");
            }
        });
    }
}

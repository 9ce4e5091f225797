//! The faults of three instances and their broker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use headwater::Config;
use headwater::config::Transactions;
use headwater::topics::TopicPartition;

use crate::broker::Broker;
use crate::job::Job;
use crate::support::child::Instance;

pub struct Fault {
    pub name: &'static str,
    pub strike: fn(&mut Matrix),
}

pub static FAULTS: [Fault; 9] = [
    Fault { name: "kill -9", strike: Matrix::kill_one },
    Fault { name: "kill -9 of two at once", strike: Matrix::kill_two },
    Fault { name: "frozen past its session and transaction", strike: Matrix::freeze_one },
    Fault { name: "a fourth joins and leaves", strike: Matrix::join_and_leave },
    Fault { name: "the disk is full", strike: Matrix::fill_disk },
    Fault { name: "a damaged table file", strike: Matrix::damage_file },
    Fault { name: "a lost disk, and a join while it restores", strike: Matrix::lose_disk },
    Fault { name: "changelogs truncated", strike: Matrix::truncate_changelogs },
    Fault { name: "a twin with the same identity", strike: Matrix::twin },
];

pub static BROKER_FAULTS: [Fault; 3] = [
    Fault { name: "a broker: kill -9 and restart", strike: Matrix::kill_broker },
    Fault { name: "a broker stands still for 8 s", strike: Matrix::freeze_broker },
    Fault { name: "kill -9 while a broker is away", strike: Matrix::kill_both },
];

/// A longer time to catch up must be explained in the log.
const SLOW: Duration = Duration::from_secs(10);

pub struct Matrix {
    broker: Broker,
    job: Job,
    directory: Kept,
    /// The first instance is never faulted itself.
    instances: Vec<Instance>,
    /// The next victim.
    turn: usize,
    started: usize,
    damaged: usize,
}

/// A directory that stays when the test fails.
struct Kept(tempfile::TempDir);

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            println!("logs and tables are in {}", self.0.path().display());
        }
    }
}

impl Matrix {
    pub fn new(broker: Broker, job: Job) -> Self {
        let directory = Kept(tempfile::tempdir().expect("a directory"));
        let mut matrix =
            Self { broker, job, directory, instances: Vec::new(), turn: 0, started: 0, damaged: 0 };
        for transactions in [Transactions::Auto, Transactions::V1, Transactions::V2] {
            let instance = matrix.start(transactions);
            matrix.instances.push(instance);
        }
        matrix
    }

    /// The process of the instance without faults.
    pub fn steady(&self) -> u32 {
        self.instances[0].pid()
    }

    pub fn fed(&self) -> u64 {
        self.job.fed()
    }

    /// Restarts ended instances, as a supervisor does. Like an operator after truncating
    /// changelogs, it removes copies that no longer fit.
    pub fn tend(&mut self) {
        for instance in &mut self.instances {
            if !instance.is_running() {
                if has_an_old_copy(&instance.log()) {
                    let _ = std::fs::remove_dir_all(instance.state_dir());
                }
                instance.start_again();
            }
        }
    }

    /// Waits until everything fed so far is counted; returns how long that took.
    pub fn catches_up(&mut self, after: &str, within: Duration) -> Duration {
        let began = Instant::now();
        let fed = self.job.fed();
        while self.job.counted() < fed {
            self.tend();
            if began.elapsed() > within || self.job.gave_up() {
                self.explain();
                panic!("{after}: {} of {fed} after {:?}", self.job.counted(), began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if began.elapsed() > SLOW {
            self.print_logs();
        }
        began.elapsed()
    }

    /// Diagnostics for the case that too little or too much is counted.
    fn explain(&self) {
        self.print_logs();
        self.job.print_offsets();
        let repartition = format!("{}-by-bucket-repartition", self.job.id);
        self.broker.print_transactions(&repartition, 0);
        self.broker.print_skipped_markers();
    }

    pub fn check(self) {
        let rebuilt: usize = self.instances.iter().map(|one| rebuilds(&one.log())).sum();
        // A store is rebuilt once for each damaged file, and never without damage.
        assert!(rebuilt <= self.damaged, "{rebuilt} stores rebuilt, {} damaged", self.damaged);
        println!("{} files damaged, {rebuilt} stores rebuilt", self.damaged);
        let Self { broker, job, instances, .. } = self;
        job.check(&broker, |job| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !job.is_done() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        for instance in instances {
            let log = instance.state_dir().with_extension("log");
            let ended_well = instance.stop();
            let log = std::fs::read_to_string(log);
            // The last ones get the tasks of those that stop before them.
            let is_refused = log.as_ref().is_ok_and(|log| has_an_old_copy(log));
            assert!(ended_well || is_refused, "a graceful stop: {}", tail(&log));
        }
    }

    fn start(&mut self, transactions: Transactions) -> Instance {
        self.started += 1;
        let name = format!("instance-{}", self.started);
        let mut config = Config {
            instance_id: Some(name.as_str().into()),
            session_timeout: Duration::from_secs(6),
            ..self.job.config.clone()
        };
        config.kafka.transactions = transactions;
        Instance::start(&self.job.id, &config, &self.directory.0.path().join(name))
    }

    /// The next victim, never the first instance.
    fn victim(&mut self) -> &mut Instance {
        self.turn += 1;
        let others = self.instances.len() - 1;
        &mut self.instances[1 + self.turn % others]
    }

    fn kill_one(&mut self) {
        let victim = self.victim();
        victim.kill();
        victim.start_again();
    }

    fn kill_two(&mut self) {
        self.instances[1..].iter_mut().for_each(Instance::kill);
        self.instances[1..].iter_mut().for_each(Instance::start_again);
    }

    fn freeze_one(&mut self) {
        let victim = self.victim();
        victim.freeze();
        std::thread::sleep(Duration::from_secs(13));
        victim.thaw();
    }

    fn join_and_leave(&mut self) {
        let fourth = self.start(Transactions::Auto);
        std::thread::sleep(Duration::from_secs(4));
        fourth.stop();
    }

    fn kill_broker(&mut self) {
        self.broker.kill();
        std::thread::sleep(Duration::from_secs(1));
        self.broker.start_again();
    }

    fn freeze_broker(&mut self) {
        self.broker.freeze();
        std::thread::sleep(Duration::from_secs(8));
        self.broker.thaw();
    }

    fn kill_both(&mut self) {
        self.broker.kill();
        self.kill_one();
        std::thread::sleep(Duration::from_secs(1));
        self.broker.start_again();
    }

    /// No file of an instance may grow: it fails, or continues without writing. A stop makes it
    /// write, if it has a task at that moment.
    fn fill_disk(&mut self) {
        let has_struck = (0..10).any(|_| {
            let victim = self.victim();
            let failed = |victim: &Instance| victim.log().matches("File too large").count();
            let before = failed(victim);
            limit_files(victim.pid(), "1");
            std::thread::sleep(Duration::from_secs(2));
            ask_to_stop(victim);
            let has_failed = failed(victim) > before;
            victim.start_again();
            std::thread::sleep(Duration::from_secs(1));
            has_failed
        });
        assert!(has_struck, "nothing was written to the full disk");
    }

    fn damage_file(&mut self) {
        let victim = self.victim();
        // A stop flushes tables, so that there is something to damage.
        ask_to_stop(victim);
        let files = table_files(victim.state_dir());
        for file in &files {
            let mut bytes = std::fs::read(file).expect("reads");
            bytes.iter_mut().take(64).for_each(|byte| *byte = 0x5a);
            std::fs::write(file, bytes).expect("writes");
        }
        victim.start_again();
        assert!(!files.is_empty(), "there was nothing to damage");
        self.damaged += files.len();
    }

    fn lose_disk(&mut self) {
        let victim = self.victim();
        victim.kill();
        let _ = std::fs::remove_dir_all(victim.state_dir());
        victim.start_again();
        std::thread::sleep(Duration::from_millis(300));
        let fourth = self.start(Transactions::Auto);
        std::thread::sleep(Duration::from_secs(3));
        fourth.stop();
    }

    /// Deletes all except the newest entries of each changelog. All forty keys have changed since.
    fn truncate_changelogs(&mut self) {
        let mut admin = self.job.client.admin().expect("a client");
        let config = &self.job.config;
        let log = headwater::connect(config).expect("a log");
        let reading = headwater::spi::transport::ReaderConfig::new(false);
        let mut reader = log.reader(&reading).expect("a reader");
        let changelog = format!("{}-counts-changelog", self.job.id);
        let partitions = self.job.client.partitions(&changelog).expect("there");
        let within = Duration::from_secs(10);
        let mut before = Vec::new();
        for partition in (0..partitions).map(|number| TopicPartition::new(&*changelog, number)) {
            let (begin, end) = reader.bounds(&partition, within).expect("bounds");
            before.push((partition, (end - 500).max(begin)));
        }
        assert!(before.iter().any(|(_, offset)| *offset > 0), "nothing to truncate yet");
        // Kafka refuses to delete records of a topic that is only compacted.
        self.broker.configure(&changelog, "cleanup.policy=delete");
        let until = Instant::now() + within;
        while let Err(error) = admin.delete_records(&before, within) {
            assert!(Instant::now() < until, "{error}");
        }
        self.broker.configure(&changelog, "cleanup.policy=compact");
        self.kill_one();
    }

    /// The twin has the victim's identity and its own disk: one of them must end.
    fn twin(&mut self) {
        let id = self.job.id.clone();
        let transactions = Transactions::Auto;
        let mut config = self.job.config.clone();
        config.kafka.transactions = transactions;
        config.session_timeout = Duration::from_secs(6);
        let directory = self.directory.0.path().join(format!("twin-{}", self.turn));
        let victim = self.victim();
        let name = victim.state_dir().file_name().map(|name| name.to_string_lossy().into_owned());
        config.instance_id = name.map(Into::into);
        let mut twin = Instance::start(&id, &config, &directory);
        std::thread::sleep(Duration::from_secs(6));
        twin.kill();
    }

    /// The recent lines of their logs.
    fn print_logs(&self) {
        for instance in &self.instances {
            println!("--- {}\n{}", instance.state_dir().display(), tail(&Ok(instance.log())));
        }
    }
}

/// The last lines of a log, without those about single records.
fn tail(log: &std::io::Result<String>) -> String {
    let log = log.as_deref().unwrap_or_default();
    let of_record = |line: &&str| line.contains("dealt with by the error policy");
    let mut lines: Vec<_> = log.lines().rev().filter(|line| !of_record(line)).take(40).collect();
    lines.reverse();
    lines.join("\n")
}

/// Whether it ended because a changelog was truncated beyond its copy of the table.
fn has_an_old_copy(log: &str) -> bool {
    log.lines().next_back().is_some_and(|line| line.contains("to keep only what the topic holds"))
}

fn rebuilds(log: &str) -> usize {
    let says = |line: &&str| line.contains("a store is corrupt");
    log.lines().filter(says).count()
}

/// Asks for a graceful stop, and ends it if that takes too long.
fn ask_to_stop(instance: &mut Instance) {
    instance.ask_to_stop();
    let until = Instant::now() + Duration::from_secs(12);
    while instance.is_running() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    instance.kill();
}

fn limit_files(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(done.expect("prlimit, of util-linux").success());
}

fn table_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sst") {
                found.push(path);
            }
        }
    }
    found
}

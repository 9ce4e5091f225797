//! Instances of a counting application, each with its own faults, and the check that its output is
//! the same as without any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater::Topology;
use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::Transport;
use headwater::status::{Status, StatusHandle};
use testkit::faults::{Faults, SurvivingStores};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A log, and an application that copies every record and counts them in buckets after a
/// repartition topic.
pub struct Lab {
    id: &'static str,
    log: Arc<dyn Transport>,
    pub client: Client,
    fed: u64,
}

impl Lab {
    pub fn new(id: &'static str, partitions: i32) -> Self {
        let log = headwater::connect(&config()).expect("a log");
        let client = Client::new(Arc::clone(&log));
        for topic in ["in", "copies", "counts"] {
            client.create_topic(&format!("{id}-{topic}"), partitions).expect("created");
        }
        Self { id, log, client, fed: 0 }
    }

    pub fn topology(&self) -> Topology {
        let builder = Builder::new(self.id);
        let input = builder.stream(&self.topic("in")).shared();
        input.clone().to(&self.topic("copies"));
        input
            .group_by("by-bucket", |_, value| format!("bucket-{}", value % 7))
            .count(&Table::new("counts"))
            .to(&self.topic("counts"));
        builder.build().expect("valid")
    }

    pub fn topic(&self, name: &str) -> Topic<String, u64> {
        Topic::new(format!("{}-{name}", self.id))
    }

    /// Starts an instance with its own faults and disk.
    pub fn start(&self, name: &str) -> Instance {
        self.start_on(name, Faults::new(), &SurvivingStores::new(), config())
    }

    pub fn start_on(
        &self,
        name: &str,
        faults: Faults,
        stores: &SurvivingStores,
        config: Config,
    ) -> Instance {
        self.start_app(self.topology(), name, faults, stores, config)
    }

    /// Replaces the lab's topology.
    pub fn start_topology(
        &self,
        topology: Topology,
        name: &str,
        faults: Faults,
        config: Config,
    ) -> Instance {
        self.start_app(topology, name, faults, &SurvivingStores::new(), config)
    }

    fn start_app(
        &self,
        topology: Topology,
        name: &str,
        faults: Faults,
        stores: &SurvivingStores,
        config: Config,
    ) -> Instance {
        let config = Config { instance_id: Some(name.into()), ..config };
        let log = faults.on(Arc::clone(&self.log));
        let app = App::with_transport(topology, config, log);
        let app = app.with_stores(Arc::new(stores.clone()));
        let status = app.status();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        Instance { faults, status, stop, ended }
    }

    /// Writes this many more records, a few at a time, for about `within`. Their timestamps are
    /// current, or the log would soon delete them.
    pub async fn feed(&mut self, records: u64, within: Duration) {
        let mut writer = self.client.writer().expect("writer");
        let input = self.topic("in");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = since.as_millis() as i64;
        let chunk = records.div_ceil(50).max(1);
        for value in self.fed..self.fed + records {
            let key = format!("key-{}", value % 101);
            writer.send(&input, &key, &value, now).expect("sent");
            if value % chunk == 0 {
                writer.flush().expect("flushed");
                tokio::time::sleep(within / 50).await;
            }
        }
        writer.flush().expect("flushed");
        self.fed += records;
    }

    /// Waits until the output of everything fed is there, and checks that each is there once.
    pub async fn check(&self, instances: &[&Instance]) {
        let mut copies = BTreeMap::<u64, u64>::new();
        let mut counts = BTreeMap::<String, u64>::new();
        let mut of_copies = self.client.reader(&self.topic("copies")).expect("reader");
        let mut of_counts = self.client.reader(&self.topic("counts")).expect("reader");
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut quiet = 0;
        while Instant::now() < deadline && quiet < 5 {
            for read in of_copies.read_to_end().expect("reads") {
                *copies.entry(read.record.value).or_default() += 1;
            }
            for read in of_counts.read_to_end().expect("reads") {
                let before = counts.insert(read.record.key.clone(), read.record.value);
                let key = &read.record.key;
                assert_eq!(before.unwrap_or(0) + 1, read.record.value, "{key}: lost or doubled");
            }
            let done = copies.len() as u64 == self.fed && counts.values().sum::<u64>() == self.fed;
            quiet += u32::from(done);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let doubled: Vec<_> = copies.iter().filter(|(_, times)| **times != 1).take(5).collect();
        let status = || instances.iter().map(|one| one.status()).collect::<Vec<_>>();
        assert!(doubled.is_empty(), "copied more than once: {doubled:?}");
        assert_eq!(copies.len() as u64, self.fed, "copies; {:#?}", status());
        assert_eq!(counts.values().sum::<u64>(), self.fed, "counts; {:#?}", status());
    }
}

/// Short time-outs, so that a test notices crashes soon.
pub fn config() -> Config {
    Config {
        broker: "embedded:".to_owned(),
        commit_interval: Some(Duration::from_millis(20)),
        session_timeout: Duration::from_millis(1_500),
        heartbeat_interval: Duration::from_millis(200),
        transaction_timeout: Duration::from_secs(3),
        connect_timeout: Duration::from_secs(3),
        request_timeout: Duration::from_secs(2),
        shutdown_timeout: Duration::from_secs(5),
        ..Config::default()
    }
}

pub struct Instance {
    pub faults: Faults,
    status: StatusHandle,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), AppError>>,
}

impl Instance {
    pub fn status(&self) -> Status {
        self.status.snapshot()
    }

    pub fn handle(&self) -> StatusHandle {
        self.status.clone()
    }

    pub fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Waits until all its tasks process.
    pub async fn runs(&self) {
        wait_for("the instance to run", || self.status.is_running()).await;
    }

    /// Waits until it ends by itself; returns how.
    pub async fn ended(self) -> Result<(), AppError> {
        let _kept = self.stop;
        self.ended.await.expect("no panic")
    }

    /// Ends it gracefully.
    pub async fn stop(self) -> Result<(), AppError> {
        let _ = self.stop.send(());
        self.ended.await.expect("no panic")
    }

    /// Ends it without notifying the log. Until its threads notice, their calls reach nothing.
    pub fn kill(self) {
        self.faults.kill();
        drop(self.stop);
    }
}

pub async fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    super::soon(what, Duration::from_secs(20), is_so).await;
}

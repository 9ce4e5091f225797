//! On a real broker: topics that are deleted, or deleted and created again, under an application
//! are errors that name them. Nothing is wiped, restarted or skipped silently.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater::errors::AppError;
use headwater::prelude::*;
use headwater::spi::transport::NewTopic;

/// No bounds for timestamps, as internal topics require.
const ANY: &str = "9223372036854775807";

struct Job {
    id: String,
    config: Config,
    client: Client,
    state: tempfile::TempDir,
}

impl Job {
    /// An application that has counted ten records and was stopped; `None` without a broker.
    async fn after_a_run(what: &str) -> Option<Self> {
        let (config, client) = support::kafka()?;
        let id = support::unique(what);
        let state = tempfile::tempdir().expect("a directory");
        let config = Config { state_dir: Some(state.path().to_owned()), ..config };
        let job = Self { id, config, client, state };
        job.create("in");
        job.create("out");
        job.feed();
        let (running, stop) = job.start();
        job.counted(10).await;
        let _ = stop.send(());
        running.await.expect("no panic").expect("a graceful stop");
        Some(job)
    }

    fn name(&self, topic: &str) -> String {
        format!("{}-{topic}", self.id)
    }

    fn create(&self, topic: &str) {
        let settings = [("retention.ms", "-1")];
        self.client.create_topic_with(&self.name(topic), 1, &settings).expect("created");
    }

    fn feed(&self) {
        let mut writer = self.client.writer().expect("a writer");
        let input = Topic::<String, u64>::new(self.name("in"));
        for value in 0..10 {
            writer.send(&input, &"key".to_owned(), &value, 1).expect("sent");
        }
        writer.flush().expect("flushed");
    }

    fn start(
        &self,
    ) -> (tokio::task::JoinHandle<Result<(), AppError>>, tokio::sync::oneshot::Sender<()>) {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let app = App::new(support::counts_by_key(&self.id), self.config.clone());
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        (running, stop)
    }

    async fn counted(&self, many: usize) {
        let client = self.client.clone();
        let output = Topic::<String, u64>::new(self.name("out"));
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = client.reader(&output).expect("a reader");
            let mut seen = 0;
            let until = Instant::now() + Duration::from_secs(30);
            while seen < many && Instant::now() < until {
                let read = reader.next(Duration::from_millis(100)).expect("reads");
                seen += usize::from(read.is_some());
            }
            seen
        });
        assert_eq!(reading.await.expect("read"), many);
    }

    fn delete(&self, topic: &str) {
        let port = self.config.broker.rsplit(':').next().expect("a port");
        let done = Command::new("bash")
            .args(["scripts/kafka.sh", "delete", &self.name(topic)])
            .env("HEADWATER_KAFKA_PORT", port)
            .stdout(Stdio::null())
            .status();
        assert!(done.expect("bash").success(), "deleting {topic}");
        let until = Instant::now() + Duration::from_secs(20);
        while self.client.partitions(&self.name(topic)).is_ok() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it ends by itself.
    async fn error(&self) -> String {
        let (running, _stop) = self.start();
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
        ended.expect("ends by itself").expect("no panic").expect_err("an error").to_string()
    }
}

/// Whether there is a table file, or another file in which RocksDB keeps rows.
fn has_state(directory: &Path) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|extension| extension == "sst") || has_state(&path)
    })
}

/// The broker deletes the group's offsets with the topic, so a committed offset is never applied to
/// a new topic of that name.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_created_again_is_read_from_its_beginning() {
    let Some(job) = Job::after_a_run("new-input").await else { return };
    job.delete("in");
    job.create("in");
    job.feed();
    let (running, stop) = job.start();
    job.counted(20).await;
    let _ = stop.send(());
    running.await.expect("no panic").expect("a graceful stop");
}

/// As long as it is shorter than before: Kafka's clients use offsets, and would mistake the new
/// topic for the old one.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_created_again_while_it_is_read() {
    let Some(job) = Job::after_a_run("changing-input").await else { return };
    let (running, _stop) = job.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    job.delete("in");
    job.create("in");
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    let error = ended.expect("it waits without end").expect("no panic").expect_err("an error");
    assert!(error.to_string().contains(&job.name("in")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_that_is_gone() {
    let Some(job) = Job::after_a_run("gone-changelog").await else { return };
    job.delete("counts-changelog");
    let error = job.error().await;
    assert!(error.contains(&job.name("counts-changelog")), "{error}");
    assert!(job.client.partitions(&job.name("counts-changelog")).is_err(), "it was created again");
    assert!(has_state(job.state.path()), "the table was wiped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_created_again() {
    let Some(job) = Job::after_a_run("new-changelog").await else { return };
    job.delete("counts-changelog");
    let config = [("cleanup.policy", "compact"), ("message.timestamp.after.max.ms", ANY)];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let name = job.name("counts-changelog").into();
    let topic = NewTopic { name, partitions: 1, replication: None, config };
    let mut admin = job.client.admin().expect("a client");
    admin.create(&topic, Duration::from_secs(10)).expect("created");
    let error = job.error().await;
    assert!(error.contains(&format!("{}-0", job.name("counts-changelog"))), "{error}");
    assert!(has_state(job.state.path()), "the table was wiped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_deleted_while_it_runs() {
    let Some(job) = Job::after_a_run("gone-output").await else { return };
    let (running, _stop) = job.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    job.delete("out");
    let until = Instant::now() + Duration::from_secs(60);
    while !running.is_finished() {
        assert!(Instant::now() < until, "it goes on without its output");
        job.feed();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let error = running.await.expect("no panic").expect_err("an error").to_string();
    assert!(error.contains(&job.name("out")), "{error}");
}

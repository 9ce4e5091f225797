//! An output that a topic would refuse is an error of the record that caused it, on the embedded
//! log and on a real broker (`HEADWATER_KAFKA`). The application continues, and the largest record
//! that a topic accepts is written.

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use headwater::Topology;
use headwater::client::ReadRecord;
use headwater::prelude::*;
use support::{Instances, soon, unique};

/// `max.message.bytes` of the outputs.
const BYTES_MAX: usize = 20_000;
/// The longest value of a record with the key `k` there: a batch has 61 bytes before its record,
/// which has three for its length, three, two for the key, three for the value's length, and one.
const LONGEST: usize = BYTES_MAX - 61 - 3 - 3 - 2 - 3 - 1;

/// Incompressible bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

struct Job {
    id: String,
    config: Config,
    client: Client,
}

impl Job {
    fn new(config: Config, client: Client) -> Self {
        let job = Self { id: unique("refused"), config, client };
        job.create("in", "1048588");
        job.create("dead", "1048588");
        job
    }

    fn create(&self, name: &str, bytes_max: &str) {
        let settings = [("retention.ms", "-1"), ("max.message.bytes", bytes_max)];
        self.client.create_topic_with(&self.name(name), 1, &settings).expect("created");
    }

    fn name(&self, topic: &str) -> String {
        format!("{}-{topic}", self.id)
    }

    fn topic<V>(&self, name: &str) -> Topic<String, V>
    where
        V: headwater::codec::Natural + 'static,
    {
        Topic::new(self.name(name))
    }

    /// Writes noise of the length that its records say. The output topic is chosen per record, or
    /// fixed.
    fn topology(&self, by_record: bool) -> Topology {
        let app = Builder::new(&*self.id);
        app.on_error(ErrorPolicy::dead_letter(self.name("dead")));
        let noisy =
            app.stream(&self.topic::<u32>("in")).map_values(|length| noise(length as usize));
        if by_record {
            let topic: Arc<str> = self.name("out").into();
            noisy.to_by(&self.topic("like"), move |_, _| Arc::clone(&topic));
        } else {
            noisy.to(&self.topic("out"));
        }
        app.build().expect("valid")
    }

    fn send(&self, lengths: &[usize]) {
        let mut writer = self.client.writer().expect("a writer");
        for length in lengths {
            let value = *length as u32;
            writer.send(&self.topic("in"), &"k".to_owned(), &value, 1).expect("sent");
        }
        writer.flush().expect("flushed");
    }

    fn read<V>(&self, topic: &str) -> Vec<ReadRecord<String, V>>
    where
        V: headwater::codec::Natural + 'static,
    {
        let mut reader = self.client.reader(&self.topic::<V>(topic)).expect("a reader");
        reader.read_to_end().expect("reads")
    }

    async fn goes_on_after_a_refused_record(&self, by_record: bool) {
        self.create("out", &BYTES_MAX.to_string());
        let topology = || self.topology(by_record);
        let app = App::new(topology(), self.config.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        // Many at once: a topic that accepts each of them accepts them in batches too.
        let mut lengths = vec![LONGEST, LONGEST + 1, 7];
        lengths.extend([3_000; 40]);
        self.send(&lengths);
        lengths.remove(1);
        soon("everything is there", Duration::from_secs(60), || {
            assert!(!running.is_finished(), "it has ended");
            self.read::<Vec<u8>>("out").len() == lengths.len()
        })
        .await;
        let _ = stop.send(());
        running.await.expect("no panic").expect("a graceful stop");
        let out = self.read::<Vec<u8>>("out");
        let found: Vec<_> = out.iter().map(|read| read.record.value.len()).collect();
        assert_eq!(found, lengths);
        let dead = self.read::<u32>("dead");
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].record.value, LONGEST as u32 + 1);
        let message = dead[0].headers.last("__streams.errors.message").flatten().expect("there");
        let message = String::from_utf8_lossy(message);
        for part in [&*self.name("out"), "20001 bytes", "20000 of max.message.bytes"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log() {
    let (config, client) = support::embedded();
    Job::new(config, client).goes_on_after_a_refused_record(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log_where_records_name_their_topic() {
    let (config, client) = support::embedded();
    Job::new(config, client).goes_on_after_a_refused_record(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_broker() {
    let Some((config, client)) = support::kafka() else { return };
    Job::new(config, client).goes_on_after_a_refused_record(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_broker_where_records_name_their_topic() {
    let Some((config, client)) = support::kafka() else { return };
    Job::new(config, client).goes_on_after_a_refused_record(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_broker_through_librdkafka() {
    let Some((mut config, client)) = support::kafka() else { return };
    config.kafka.transactions = headwater::config::Transactions::V1;
    Job::new(config, client).goes_on_after_a_refused_record(false).await;
}

/// The application cannot know: it ends with an error that says so, and knows the limit after a
/// restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_changed_while_an_application_runs() {
    let Some((config, client)) = support::kafka() else { return };
    let port = config.broker.rsplit(':').next().expect("a port").to_owned();
    let job = Job::new(config.clone(), client);
    job.create("out", "1048588");
    let app = App::new(job.topology(false), config.clone());
    let running = tokio::spawn(app.run(std::future::pending()));
    job.send(&[100]);
    soon("it runs", Duration::from_secs(60), || job.read::<Vec<u8>>("out").len() == 1).await;
    let done = Command::new("bash")
        .args(["scripts/kafka.sh", "configure", &job.name("out"), "max.message.bytes=20000"])
        .env("HEADWATER_KAFKA_PORT", port)
        .stdout(Stdio::null())
        .status();
    assert!(done.expect("bash").success(), "configured");
    job.send(&[30_000, 200]);
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    let error = ended.expect("ends").expect("no panic").expect_err("an error").to_string();
    let place = format!("{}-0", job.name("out"));
    let change = format!("max.message.bytes of {} was 1048588 and is 20000", job.name("out"));
    for part in [&*place, &*change, "30"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let topology = {
        let job = Job { id: job.id.clone(), config: config.clone(), client: job.client.clone() };
        move || job.topology(false)
    };
    let mut instances = Instances::new(topology, config);
    instances.start();
    soon("it goes on", Duration::from_secs(60), || job.read::<Vec<u8>>("out").len() == 2).await;
    instances.stop_all().await;
    assert_eq!(job.read::<u32>("dead")[0].record.value, 30_000);
}

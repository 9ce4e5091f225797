//! While an instance joins and leaves, the tasks that do not move keep producing output.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::client::TopicReader;
use headwater::prelude::*;
use headwater::status::TaskState;
use support::Instances;

const PARTITIONS: usize = 6;

fn topology(id: &str) -> headwater::Topology {
    let app = Builder::new(id);
    let input = Topic::<String, u64>::new(format!("{id}-in"));
    app.stream(&input).to(&Topic::new(format!("{id}-out")));
    app.build().expect("valid")
}

/// Feeds every partition all the time until told to stop.
fn feed(client: &Client, input: &Topic<String, u64>, stop: &AtomicBool) {
    let mut writer = client.writer().expect("a writer");
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for key in 0..60 {
            writer.send(input, &format!("key-{key}"), &number, 1).expect("sent");
        }
        writer.flush().expect("flushed");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The longest silence of each output partition until told to stop.
fn silences(mut output: TopicReader<String, u64>, stop: &AtomicBool) -> Vec<Duration> {
    let mut last = [Instant::now(); PARTITIONS];
    let mut longest = vec![Duration::ZERO; PARTITIONS];
    while !stop.load(Ordering::Relaxed) {
        if let Some(read) = output.next(Duration::from_millis(20)).expect("reads") {
            let partition = read.partition as usize;
            longest[partition] = longest[partition].max(last[partition].elapsed());
            last[partition] = Instant::now();
        }
    }
    longest
}

/// The partitions that the first instance works on.
fn kept(instances: &Instances) -> Vec<usize> {
    let status = instances.status();
    let tasks = status[0].tasks.values().filter(|task| task.state == TaskState::Running);
    tasks.flat_map(|task| task.inputs.iter().map(|input| input.partition as usize)).collect()
}

async fn run(id: String, config: Config, client: Client, at_most: Duration) {
    let forever = [("retention.ms", "-1")];
    for topic in ["in", "out"] {
        let name = format!("{id}-{topic}");
        client.create_topic_with(&name, PARTITIONS as i32, &forever).expect("created");
    }
    let input = Topic::<String, u64>::new(format!("{id}-in"));
    let output = Topic::<String, u64>::new(format!("{id}-out"));
    let mut instances = Instances::new(move || topology(&id), config);
    instances.start();
    let stop = Arc::new(AtomicBool::new(false));
    let feeding = Arc::clone(&stop);
    let writer = client.clone();
    let feeder = std::thread::spawn(move || feed(&writer, &input, &feeding));
    let mut reader = client.reader(&output).expect("a reader");
    let started = Instant::now();
    while kept(&instances).len() < PARTITIONS || reader.read_to_end().expect("reads").is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30), "it does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let watching = Arc::clone(&stop);
    let watcher = std::thread::spawn(move || silences(reader, &watching));
    tokio::time::sleep(Duration::from_secs(1)).await;
    instances.start();
    while kept(&instances).len() != PARTITIONS / 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "it is never shared out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stayed = kept(&instances);
    stop.store(true, Ordering::Relaxed);
    feeder.join().expect("fed");
    let longest = watcher.join().expect("watched");
    instances.stop_all().await;
    println!("stayed: {stayed:?}, longest silences: {longest:?}");
    for partition in stayed {
        let silence = longest[partition];
        assert!(silence < at_most, "partition {partition} was silent for {silence:?}");
        assert!(silence > Duration::ZERO, "partition {partition} said nothing at all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log() {
    let (config, client) = support::embedded();
    run("unconcerned".to_owned(), config, client, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka() {
    let Some((config, client)) = support::kafka() else { return };
    run(support::unique("unconcerned"), config, client, Duration::from_secs(2)).await;
}

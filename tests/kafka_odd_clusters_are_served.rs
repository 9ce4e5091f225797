//! Programs count exactly once on clusters that differ from the one at hand: one that speaks what
//! Redpanda does, one that is far away, and one with quotas.
//!
//! `HEADWATER_LONG=1` measures quotas for longer, so that a burst does not count.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater::config::Transactions;
use headwater::prelude::*;
use headwater::status::Status;
use support::counting::{Counting, topology};
use support::{Instances, kafka, unique};
use testkit::kafka_proxy::{KafkaProxy, ProxyProfile};

const MINUTE: Duration = Duration::from_secs(60);
const HALF: u64 = 1_000;

/// A broker allows a client ten seconds' worth at once before it holds to a quota.
const BURST: u64 = 10;

/// The real broker, in a run of `./dev clusters`: these take minutes.
fn of_clusters() -> Option<(Config, Client)> {
    if std::env::var_os("HEADWATER_KAFKA_CLUSTER").is_none() {
        println!("skipped: runs by ./dev clusters");
        return None;
    }
    kafka()
}

fn through(proxy: &KafkaProxy, config: Config) -> Config {
    Config { broker: format!("kafka://{}", proxy.address()), ..config }
}

/// Only librdkafka knows this property of consumers, so it fetches.
fn by_librdkafka(mut config: Config) -> Config {
    config.kafka.consumer.insert("check.crcs".to_owned(), "true".to_owned());
    config.kafka.transactions = Transactions::V1;
    config
}

/// Feeds an application, ends its first instance, lets a second one restore its tables, and checks
/// every count. Returns what the second one says of itself.
async fn count(feeding: Client, config: Config) -> Status {
    let job = Counting::new(unique("odd"), feeding);
    let id = job.id.clone();
    let mut instances = Instances::new(move || topology(&id), config);
    instances.start();
    job.feed(0..HALF, HALF, |_| ());
    job.check(HALF, MINUTE);
    instances.stop_first().await;
    instances.start();
    job.feed(HALF..2 * HALF, HALF, |_| ());
    job.check(2 * HALF, MINUTE);
    let status = instances.status().remove(0);
    instances.stop_all().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn redpandas_versions_by_librdkafka() {
    let Some((config, client)) = kafka() else { return };
    let broker = config.broker.trim_start_matches("kafka://");
    let proxy = KafkaProxy::start_as(broker, ProxyProfile::redpanda()).expect("a proxy");
    count(client, by_librdkafka(through(&proxy, config))).await;
    assert!(proxy.unspoken().is_empty(), "asked for {:?}", proxy.unspoken());
}

#[tokio::test(flavor = "multi_thread")]
async fn redpandas_versions() {
    let Some((config, client)) = of_clusters() else { return };
    let broker = config.broker.trim_start_matches("kafka://");
    let proxy = KafkaProxy::start_as(broker, ProxyProfile::redpanda()).expect("a proxy");
    count(client, through(&proxy, config)).await;
    assert!(proxy.unspoken().is_empty(), "asked for {:?}", proxy.unspoken());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_a_second_away_by_librdkafka() {
    far_away(Duration::from_millis(250), by_librdkafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_a_second_away() {
    far_away(Duration::from_millis(250), |config| config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_second_away() {
    far_away(Duration::from_millis(500), |config| config).await;
}

async fn far_away(delay: Duration, by: fn(Config) -> Config) {
    let Some((config, client)) = of_clusters() else { return };
    let broker = config.broker.trim_start_matches("kafka://");
    let profile = ProxyProfile::default().with_delay(delay);
    let proxy = KafkaProxy::start_as(broker, profile).expect("a proxy");
    let began = Instant::now();
    let status = count(client, by(through(&proxy, config))).await;
    println!("{delay:?} away, counted within {:?}", began.elapsed());
    assert_eq!(status.commits.rewinds, 0, "{status:#?}");
}

/// Limits the clients of this name, as `./dev kafka quota` does; `false` if the broker is not ours.
fn limit(config: &mut Config, quotas: &[&str]) -> bool {
    let Some(port) = config.broker.strip_prefix("kafka://127.0.0.1:") else { return false };
    let client = unique("limited");
    let script = Command::new("bash")
        .args(["scripts/kafka.sh", "quota", &client])
        .args(quotas)
        .env("HEADWATER_KAFKA_PORT", port)
        .stdout(Stdio::null())
        .status();
    assert!(script.expect("bash").success(), "{quotas:?}");
    config.kafka.common.insert("client.id".to_owned(), client);
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn tight_quotas_of_bytes_and_requests() {
    let Some((mut config, client)) = kafka() else { return };
    let quotas = ["producer_byte_rate=20000", "consumer_byte_rate=20000", "request_percentage=1"];
    if !limit(&mut config, &quotas) {
        return;
    }
    let began = Instant::now();
    let status = count(client, config).await;
    println!("counted within {:?}", began.elapsed());
    assert_eq!(status.commits.rewinds, 0, "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_kept() {
    let Some((mut config, client)) = kafka() else { return };
    let rate = 200_000;
    let of_writers = format!("producer_byte_rate={rate}");
    let of_readers = format!("consumer_byte_rate={rate}");
    if !limit(&mut config, &[&of_writers, &of_readers]) {
        return;
    }
    let seconds = if is_long() { 60 } else { 10 };
    let limited = headwater::client(&config).expect("a client");
    let topic = Topic::<String, String>::new(unique("limited"));
    client.create_topic(topic.name(), 1).expect("created");
    let mut writer = limited.writer().expect("a writer");
    let mut written = 0;
    let mut write = |bytes: u64| {
        let began = Instant::now();
        let until = written + bytes;
        while written < until {
            let value = incompressible(written);
            writer.send(&topic, &"k".to_owned(), &value, 1).expect("sent");
            written += value.len() as u64;
            // No more at once than a few seconds' worth.
            if written % 100_000 < 1_000 {
                writer.flush().expect("flushed");
            }
        }
        writer.flush().expect("flushed");
        began.elapsed()
    };
    write(rate * BURST);
    let took = write(rate * seconds);
    is_about("written", took, seconds);
    let mut reader = limited.reader(&topic).expect("a reader");
    let mut read = |bytes: u64| {
        let began = Instant::now();
        let mut left = bytes;
        while left > 0 {
            let next = reader.next(MINUTE).expect("reads").expect("more");
            left = left.saturating_sub(next.record.value.len() as u64);
        }
        began.elapsed()
    };
    read(rate * BURST);
    let took = read(rate * seconds * 9 / 10);
    is_about("read", took, seconds * 9 / 10);
}

fn is_about(what: &str, took: Duration, seconds: u64) {
    println!("{what} in {took:.1?} what a quota gives {seconds} s for");
    let expected = Duration::from_secs(seconds);
    assert!(took > expected * 9 / 10, "{what} in {took:?}: more than the quota");
    // The broker lets a client wait in steps of many seconds, which show in a short time.
    let is_enough = !is_long() || took < expected * 11 / 10;
    assert!(is_enough, "{what} in {took:?}: less than the quota");
}

fn is_long() -> bool {
    std::env::var_os("HEADWATER_LONG").is_some()
}

/// A thousand characters that no codec makes much smaller.
fn incompressible(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state % 95) as u8)
    });
    letters.take(1_000).collect()
}

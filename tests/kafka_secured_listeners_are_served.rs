//! On each listener of a real cluster, with TLS and every mechanism of SASL, a whole program counts
//! exactly once. What does not admit (a wrong password, a certificate that is expired or of another
//! host) ends a program within seconds, with an error that names the cause.
//!
//! Runs where `HEADWATER_KAFKA_CLUSTER` names a cluster with all listeners, as `./dev clusters`
//! does; passes without having run elsewhere.

mod support;

use std::time::{Duration, Instant};

use headwater::{App, Config};
use support::cluster::Cluster;
use support::counting::{Counting, topology};
use support::{Instances, unique};

const SOON: Duration = Duration::from_secs(10);
const HALF: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_counts_exactly_once_on_each() {
    let Some(cluster) = Cluster::of_environment() else { return };
    for listener in cluster.listeners() {
        let began = Instant::now();
        println!("{listener}");
        count(cluster.config(&listener)).await;
        println!("{listener}: counted within {:?}", began.elapsed());
    }
}

/// Two instances, one of which ends while records come, so that tables are restored as well.
async fn count(config: Config) {
    let job = Counting::new(unique("secured"), headwater::client(&config).expect("a client"));
    let id = job.id.clone();
    let mut instances = Instances::new(move || topology(&id), config);
    instances.start();
    instances.start();
    job.feed(0..HALF, HALF, |_| ());
    instances.stop_first().await;
    job.feed(HALF..2 * HALF, HALF, |_| ());
    job.check(2 * HALF, Duration::from_secs(60));
    instances.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named() {
    let Some(cluster) = Cluster::of_environment() else { return };
    for listener in cluster.listeners() {
        let mut config = cluster.config(&listener);
        let Some(password) = config.kafka.common.get_mut("sasl.password") else { continue };
        "wine".clone_into(password);
        is_refused(&listener, config, &["uthentication failed", "AUTHENTICATION_FAILED"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named() {
    let Some(cluster) = Cluster::of_environment() else { return };
    is_refused("EXPIRED", cluster.config("EXPIRED"), &["expired"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_host_is_named() {
    let Some(cluster) = Cluster::of_environment() else { return };
    let names = ["hostname mismatch", "IP address mismatch", "not valid for"];
    is_refused("OTHER_HOST", cluster.config("OTHER_HOST"), &names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_named() {
    let Some(cluster) = Cluster::of_environment() else { return };
    let mut config = cluster.config("SSL");
    // The roots of the system do not know the tests' authority.
    config.kafka.common.remove("ssl.ca.location");
    let names = ["unknown ca", "UnknownIssuer", "root certificates", "issuer"];
    is_refused("SSL", config, &names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_certificate_is_named() {
    let Some(cluster) = Cluster::of_environment() else { return };
    let mut config = cluster.config("MUTUAL");
    config.kafka.common.remove("ssl.certificate.location");
    config.kafka.common.remove("ssl.key.location");
    is_refused("MUTUAL", config, &["certificate required", "bad certificate"]).await;
}

/// A program that is not admitted ends soon, and its error has one of the names.
async fn is_refused(listener: &str, config: Config, names: &[&str]) {
    let broker = config.broker.clone();
    let began = Instant::now();
    let running = App::new(topology(&unique("refused")), config).run(std::future::pending());
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    let error = ended.expect("ends").expect_err("not admitted").to_string();
    let took = began.elapsed();
    println!("{listener}, after {took:?}: {error}");
    assert!(names.iter().any(|name| error.contains(name)), "the cause: {error}");
    assert!(error.contains(broker.trim_start_matches("kafka://")), "the broker: {error}");
    assert!(took < SOON, "{took:?}");
}

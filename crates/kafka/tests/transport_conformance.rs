//! Kafka is a transport like the embedded log: the same cases, on a real broker, all by librdkafka
//! and all by our own client, except for the membership, which is always librdkafka's.
//!
//! Runs where `HEADWATER_KAFKA=host:port` names one, as `./dev test` does; passes without having
//! run elsewhere. `HEADWATER_KAFKA_CLIENT=FILE` names one that asks for more, by the properties of
//! a client, as `./dev clusters` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_kafka::{KafkaConfig, KafkaTransport};
use runtime::Transactions;
use testkit::conformance::Env;

/// Where the broker is, and what all clients need to be admitted.
struct Cluster {
    brokers: String,
    properties: BTreeMap<String, String>,
    /// What our own client is asked for. `Auto` on clusters of which only some know the second
    /// protocol, and which only librdkafka may be able to enter.
    transactions: Transactions,
}

impl Cluster {
    fn of_environment() -> Option<Self> {
        if let Some(file) = std::env::var_os("HEADWATER_KAFKA_CLIENT") {
            let text = std::fs::read_to_string(&file).expect("properties");
            let mut properties: BTreeMap<_, _> = text.lines().map(property).collect();
            let brokers = properties.remove("bootstrap.servers").expect("bootstrap.servers");
            return Some(Self { brokers, properties, transactions: Transactions::Auto });
        }
        let brokers = std::env::var("HEADWATER_KAFKA").ok()?;
        let properties = BTreeMap::new();
        Some(Self { brokers, properties, transactions: Transactions::V2 })
    }
}

fn property(line: &str) -> (String, String) {
    let (name, value) = line.split_once('=').expect("name=value");
    (name.to_owned(), value.to_owned())
}

/// `client` is part of all names: both run their cases at the same time, on the same broker.
fn on_kafka(
    case: &str,
    client: &str,
    consumer: &BTreeMap<String, String>,
    transactions: Option<Transactions>,
) -> Option<Env> {
    let cluster = Cluster::of_environment()?;
    let config = KafkaConfig::new(&cluster.brokers).expect("host:port");
    let none = BTreeMap::new();
    let config = config.with_properties(&cluster.properties, consumer, &none, &none);
    let transactions = transactions.unwrap_or(cluster.transactions);
    let transport = KafkaTransport::new(config.expect("allowed").with_transactions(transactions));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let prefix = format!("{case}-{client}-{}", since.as_millis());
    let mut env = Env::new(Arc::new(transport), &prefix);
    env.patience = Duration::from_secs(60);
    env.transaction_timeout = Duration::from_secs(5);
    Some(env)
}

/// A property of consumers that only librdkafka knows makes it fetch, too.
mod by_librdkafka {
    fn on_kafka(case: &str) -> Option<testkit::conformance::Env> {
        let only_its_own = [("check.crcs".to_owned(), "true".to_owned())].into();
        super::on_kafka(case, "librdkafka", &only_its_own, Some(runtime::Transactions::V1))
    }

    testkit::transport_conformance!(on_kafka);
}

mod by_our_own_client {
    fn on_kafka(case: &str) -> Option<testkit::conformance::Env> {
        super::on_kafka(case, "own", &std::collections::BTreeMap::new(), None)
    }

    testkit::transport_conformance!(on_kafka);
}

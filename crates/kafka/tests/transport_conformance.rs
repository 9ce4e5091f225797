//! Kafka is a transport like the embedded log: the same cases, on a real broker, all by librdkafka
//! and all by our own client (but for the membership, which is always librdkafka's).
//!
//! Runs where `HEADWATER_KAFKA=host:port` names one, as `./dev test` does; passes without having
//! run elsewhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_kafka::{KafkaConfig, KafkaTransport};
use testkit::conformance::Env;

/// `client` is part of all names: both run their cases at the same time, on the same broker.
fn on_kafka(
    case: &str,
    client: &str,
    config: impl FnOnce(KafkaConfig) -> KafkaConfig,
) -> Option<Env> {
    let broker = std::env::var("HEADWATER_KAFKA").ok()?;
    let transport = KafkaTransport::new(config(KafkaConfig::new(&broker).expect("host:port")));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let prefix = format!("{case}-{client}-{}", since.as_millis());
    let mut env = Env::new(Arc::new(transport), &prefix);
    env.patience = Duration::from_secs(60);
    env.transaction_timeout = Duration::from_secs(5);
    Some(env)
}

/// A property of consumers that only librdkafka knows makes it fetch, too.
mod by_librdkafka {
    use std::collections::BTreeMap;

    fn on_kafka(case: &str) -> Option<testkit::conformance::Env> {
        super::on_kafka(case, "librdkafka", |config| {
            let only_its_own = [("check.crcs".to_owned(), "true".to_owned())].into();
            let none = BTreeMap::new();
            let config = config.with_properties(&none, &only_its_own, &none, &none);
            config.expect("allowed").with_transactions(runtime::Transactions::V1)
        })
    }

    testkit::transport_conformance!(on_kafka);
}

mod by_our_own_client {
    fn on_kafka(case: &str) -> Option<testkit::conformance::Env> {
        super::on_kafka(case, "own", |config| config.with_transactions(runtime::Transactions::V2))
    }

    testkit::transport_conformance!(on_kafka);
}

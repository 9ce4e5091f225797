//! Kafka is a transport like the embedded log: the same cases, on a real broker.
//!
//! Runs where `HEADWATER_KAFKA=host:port` names one, as `./dev test` does; passes without having
//! run elsewhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_kafka::{KafkaConfig, KafkaTransport};
use runtime::Transactions;
use testkit::conformance::Env;

fn on_kafka(case: &str, transactions: Transactions) -> Option<Env> {
    let broker = std::env::var("HEADWATER_KAFKA").ok()?;
    let config = KafkaConfig::new(&broker).expect("host:port");
    let config = config.with_transactions(transactions);
    let transport = KafkaTransport::new(config);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mut env = Env::new(Arc::new(transport), &format!("{case}-{}", since.as_millis()));
    env.patience = Duration::from_secs(60);
    env.transaction_timeout = Duration::from_secs(5);
    Some(env)
}

mod transactions_v1 {
    fn on_kafka(case: &str) -> Option<testkit::conformance::Env> {
        super::on_kafka(case, runtime::Transactions::V1)
    }

    testkit::transport_conformance!(on_kafka);
}

mod transactions_v2 {
    fn on_kafka(case: &str) -> Option<testkit::conformance::Env> {
        super::on_kafka(case, runtime::Transactions::V2)
    }

    testkit::transport_conformance!(on_kafka);
}

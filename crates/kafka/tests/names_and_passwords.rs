//! With SASL PLAIN both producers are admitted by a name and a password, and a wrong one is an
//! error that says so, not an endless attempt.
//!
//! Runs where `HEADWATER_KAFKA_LOGIN=host:port` names the port of `./dev kafka` that asks for them,
//! as `./dev test` does; passes without having run elsewhere.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater_kafka::{KafkaConfig, KafkaTransport};
use runtime::Transactions;
use runtime::transport::{
    ErrorKind, Outgoing, Producer, ProducerConfig, Transport, TransportError,
};

use support::{create, unique};

const PATIENT: Duration = Duration::from_secs(20);

fn transport(transactions: Transactions, password: &str) -> Option<KafkaTransport> {
    let broker = std::env::var("HEADWATER_KAFKA_LOGIN").ok()?;
    let properties: BTreeMap<_, _> = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "headwater"),
        ("sasl.password", password),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let none = BTreeMap::new();
    let config = KafkaConfig::new(&broker).expect("host:port");
    let config = config.with_properties(&properties, &none, &none, &none).expect("allowed");
    Some(KafkaTransport::new(config.with_transactions(transactions)))
}

fn producer(
    transport: &KafkaTransport,
    name: &str,
    timeout: Duration,
) -> Result<Box<dyn Producer>, TransportError> {
    let mut producer = transport.producer(&ProducerConfig {
        transactional_id: Some(name.into()),
        transaction_timeout: Duration::from_secs(10),
        buffer_bytes_max: 1 << 20,
    })?;
    producer.init(timeout)?;
    Ok(producer)
}

#[test]
fn the_right_password_admits() {
    for transactions in [Transactions::V1, Transactions::V2] {
        let Some(transport) = transport(transactions, "water") else { return };
        let topic = unique(&format!("login-{transactions:?}"));
        create(&transport, &topic, &[]);
        let mut producer = producer(&transport, &topic, PATIENT).expect("admitted");
        producer.begin().expect("begun");
        let (key, value) = (Some(&b"k"[..]), Some(&b"v"[..]));
        let (partition, timestamp, headers) = (Some(0), 0, None);
        let record = Outgoing { topic: &topic, partition, key, value, timestamp, headers };
        producer.send(&record).expect("sent");
        producer.commit(PATIENT).expect("committed");
    }
}

#[test]
fn a_wrong_password_is_an_error_of_its_own() {
    let Some(transport) = transport(Transactions::V2, "wine") else { return };
    let began = Instant::now();
    let error = producer(&transport, "refused", PATIENT).err().expect("not admitted");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("SASL_AUTHENTICATION_FAILED"), "{error}");
    assert!(began.elapsed() < PATIENT / 2, "it is not tried again");
}

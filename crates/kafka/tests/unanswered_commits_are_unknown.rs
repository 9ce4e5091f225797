//! A commit that is not answered in time is reported as unknown, by both protocols, whether the
//! broker has done it or never saw it: the worker then looks at the log, instead of believing.

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater_kafka::{KafkaConfig, KafkaTransport};
use runtime::Transactions;
use runtime::transport::{ErrorKind, Outgoing, ProducerConfig, Transport};
use testkit::kafka_proxy::{KafkaProxy, Wire, api};

use support::{create, unique};

const PATIENT: Duration = Duration::from_secs(20);

/// Shorter than the time after which a client would ask again.
const SHORT: Duration = Duration::from_millis(500);

fn unanswered_commit(transactions: Transactions, wire: Wire) {
    let Ok(broker) = std::env::var("HEADWATER_KAFKA") else {
        println!("skipped: HEADWATER_KAFKA names no broker");
        return;
    };
    let proxy = KafkaProxy::start(&broker).expect("a proxy");
    let config = KafkaConfig::new(&proxy.address().to_string()).expect("host:port");
    let transport = KafkaTransport::new(config.with_transactions(transactions));
    let topic = unique("unanswered");
    create(&transport, &topic, &[]);
    let config = ProducerConfig {
        transactional_id: Some(Arc::clone(&topic)),
        transaction_timeout: PATIENT,
        buffer_bytes_max: 1 << 20,
    };
    let mut producer = transport.producer(&config).expect("a producer");
    producer.init(PATIENT).expect("initialised");
    producer.begin().expect("begun");
    let (key, value, headers) = (None, Some(&b"x"[..]), None);
    let record = Outgoing { topic: &topic, partition: Some(0), key, value, timestamp: 0, headers };
    producer.send(&record).expect("sent");
    producer.flush(PATIENT).expect("delivered");
    proxy.next(api::END_TXN, wire);
    let error = producer.commit(SHORT).expect_err("nobody answered");
    assert_eq!(proxy.fired(api::END_TXN, wire), 1);
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
}

#[test]
fn by_the_second_protocol_if_it_is_lost() {
    unanswered_commit(Transactions::V2, Wire::Lost);
}

#[test]
fn by_the_second_protocol_if_its_answer_is() {
    unanswered_commit(Transactions::V2, Wire::AnswerLost);
}

#[test]
fn by_the_first_protocol_if_it_is_lost() {
    unanswered_commit(Transactions::V1, Wire::Lost);
}

#[test]
fn by_the_first_protocol_if_its_answer_is() {
    unanswered_commit(Transactions::V1, Wire::AnswerLost);
}

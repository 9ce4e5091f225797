//! Between a real broker and two instances, requests of every kind get lost, lose their responses,
//! are delayed, cut off, or held and released long after their transaction. Nothing is lost,
//! doubled or torn, each fault did happen, and each instance continues within a minute. Both
//! transaction protocols are tested.
//!
//! `HEADWATER_ROUNDS=20` goes through all of them 20 times; the default is once.

mod support;

use std::time::{Duration, Instant};

use headwater::Config;
use headwater::config::Transactions;
use support::counting::{Counting, Feeder, topology};
use support::{Instances, soon};
use testkit::kafka_proxy::{KafkaProxy, Wire, api, error};

/// A delay that is longer than most time-outs of a request.
const LONG: Wire = Wire::Delayed(Duration::from_secs(4));

/// The faults, in this order, of the next request of each kind.
const FAULTS: [(&str, i16, Wire); 29] = [
    ("EndTxn", api::END_TXN, Wire::Held),
    ("EndTxn", api::END_TXN, Wire::Lost),
    ("EndTxn", api::END_TXN, Wire::AnswerLost),
    ("EndTxn", api::END_TXN, LONG),
    ("EndTxn", api::END_TXN, Wire::Cut),
    ("EndTxn", api::END_TXN, Wire::CutAfter),
    ("EndTxn", api::END_TXN, Wire::Refused(error::NOT_COORDINATOR)),
    ("EndTxn", api::END_TXN, Wire::Refused(error::COORDINATOR_LOAD_IN_PROGRESS)),
    ("EndTxn", api::END_TXN, Wire::Refused(error::CONCURRENT_TRANSACTIONS)),
    ("EndTxn", api::END_TXN, Wire::Refused(error::INVALID_PRODUCER_EPOCH)),
    ("EndTxn", api::END_TXN, Wire::Refused(error::UNKNOWN_SERVER_ERROR)),
    ("TxnOffsetCommit", api::TXN_OFFSET_COMMIT, Wire::Lost),
    ("TxnOffsetCommit", api::TXN_OFFSET_COMMIT, Wire::AnswerLost),
    ("TxnOffsetCommit", api::TXN_OFFSET_COMMIT, Wire::Held),
    ("AddOffsetsToTxn", api::ADD_OFFSETS_TO_TXN, Wire::AnswerLost),
    ("AddOffsetsToTxn", api::ADD_OFFSETS_TO_TXN, Wire::Cut),
    ("AddPartitionsToTxn", api::ADD_PARTITIONS_TO_TXN, Wire::AnswerLost),
    ("AddPartitionsToTxn", api::ADD_PARTITIONS_TO_TXN, Wire::Held),
    ("Produce", api::PRODUCE, Wire::Lost),
    ("Produce", api::PRODUCE, Wire::AnswerLost),
    ("Produce", api::PRODUCE, Wire::CutAfter),
    ("Produce", api::PRODUCE, Wire::Held),
    ("Fetch", api::FETCH, Wire::Lost),
    ("Fetch", api::FETCH, Wire::Cut),
    ("Heartbeat", api::HEARTBEAT, Wire::AnswerLost),
    ("Heartbeat", api::HEARTBEAT, LONG),
    ("Heartbeat", api::HEARTBEAT, Wire::Refused(error::UNKNOWN_MEMBER_ID)),
    ("Heartbeat", api::HEARTBEAT, Wire::Refused(error::NOT_COORDINATOR)),
    ("EndTxn", api::END_TXN, Wire::Held),
];

/// Under the second protocol, writing partitions and offsets adds them to a transaction.
const ONLY_V1: [i16; 2] = [api::ADD_OFFSETS_TO_TXN, api::ADD_PARTITIONS_TO_TXN];

/// For a member that the group does not know: it waits until its former incarnation expires,
/// sometimes twice. Other faults take seconds.
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_torn_under_the_first_protocol() {
    nothing_is_lost_doubled_or_torn(Transactions::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_torn_under_the_second_protocol() {
    nothing_is_lost_doubled_or_torn(Transactions::V2).await;
}

async fn nothing_is_lost_doubled_or_torn(transactions: Transactions) {
    let Some((mut config, client)) = support::kafka() else { return };
    config.kafka.transactions = transactions;
    let broker = config.broker.trim_start_matches("kafka://");
    let proxy = KafkaProxy::start(broker).expect("a proxy");
    let job = Counting::new(support::unique("wire"), client);
    let through = Config { broker: format!("kafka://{}", proxy.address()), ..config };
    let id = job.id.clone();
    let mut instances = Instances::new(move || topology(&id), through);
    instances.start();
    instances.start();
    let feeder = Feeder::start(job, 1_000, 1_000);
    // Of each instance, because a fault hits one of them.
    let commits = |instances: &Instances| -> Vec<u64> {
        instances.status().iter().map(|status| status.commits.commits).collect()
    };
    let go_on = |before: &[u64], instances: &Instances| {
        let now = commits(instances);
        now.len() == before.len() && now.iter().zip(before).all(|(now, then)| *now > then + 3)
    };
    soon("the first commits", MINUTE, || go_on(&[0, 0], &instances)).await;
    let is_v2 = transactions == Transactions::V2;
    let faults = FAULTS.iter().filter(|(_, kind, _)| !(is_v2 && ONLY_V1.contains(kind)));
    let mut slowest = Duration::ZERO;
    let mut count = 0;
    for &(name, kind, wire) in std::iter::repeat_n(faults, support::rounds()).flatten() {
        let before = proxy.fired(kind, wire);
        let began = Instant::now();
        proxy.next(kind, wire);
        soon(name, MINUTE, || proxy.fired(kind, wire) > before).await;
        let committed = commits(&instances);
        soon("work goes on", MINUTE, || go_on(&committed, &instances)).await;
        // By now other transactions have started.
        let late = proxy.release();
        println!("{name} {wire:?}: {late} late, work goes on after {:?}", began.elapsed());
        slowest = slowest.max(began.elapsed());
        count += 1;
    }
    println!("{count} faults by {transactions:?}, each over within {slowest:?}");
    let check = move || feeder.finish();
    tokio::task::spawn_blocking(check).await.expect("nothing lost, doubled or torn");
    instances.stop_all().await;
}

//! Between a real broker and two instances, requests of every kind get lost, lose their answers,
//! are delayed, cut off, or held back and released when their transaction is long over: nothing is
//! lost, doubled or torn, each of them did happen, and each instance goes on within 30 s of it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater::Config;
use support::Instances;
use support::counting::{Counting, topology};
use testkit::kafka_proxy::{KafkaProxy, Wire, api};

/// A delay that is longer than most time-outs of a request.
const LONG: Wire = Wire::Delayed(Duration::from_secs(4));

/// What happens, in this order, to the next request of the kind.
const FAULTS: [(&str, i16, Wire); 22] = [
    ("EndTxn", api::END_TXN, Wire::Held),
    ("EndTxn", api::END_TXN, Wire::Lost),
    ("EndTxn", api::END_TXN, Wire::AnswerLost),
    ("EndTxn", api::END_TXN, LONG),
    ("EndTxn", api::END_TXN, Wire::Cut),
    ("EndTxn", api::END_TXN, Wire::CutBehind),
    ("TxnOffsetCommit", api::TXN_OFFSET_COMMIT, Wire::Lost),
    ("TxnOffsetCommit", api::TXN_OFFSET_COMMIT, Wire::AnswerLost),
    ("TxnOffsetCommit", api::TXN_OFFSET_COMMIT, Wire::Held),
    ("AddOffsetsToTxn", api::ADD_OFFSETS_TO_TXN, Wire::AnswerLost),
    ("AddOffsetsToTxn", api::ADD_OFFSETS_TO_TXN, Wire::Cut),
    ("AddPartitionsToTxn", api::ADD_PARTITIONS_TO_TXN, Wire::AnswerLost),
    ("AddPartitionsToTxn", api::ADD_PARTITIONS_TO_TXN, Wire::Held),
    ("Produce", api::PRODUCE, Wire::Lost),
    ("Produce", api::PRODUCE, Wire::AnswerLost),
    ("Produce", api::PRODUCE, Wire::CutBehind),
    ("Produce", api::PRODUCE, Wire::Held),
    ("Fetch", api::FETCH, Wire::Lost),
    ("Fetch", api::FETCH, Wire::Cut),
    ("Heartbeat", api::HEARTBEAT, Wire::AnswerLost),
    ("Heartbeat", api::HEARTBEAT, LONG),
    ("EndTxn", api::END_TXN, Wire::Held),
];

/// Waits until something is true.
async fn soon(what: &str, is_true: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_true() {
        assert!(Instant::now() < until, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_torn() {
    let Some((config, client)) = support::kafka() else { return };
    let broker = config.broker.trim_start_matches("kafka://");
    let proxy = KafkaProxy::start(broker).expect("a proxy");
    let job = Arc::new(Counting::new(support::unique("wire"), client));
    let through = Config { broker: format!("kafka://{}", proxy.address()), ..config };
    let id = job.id.clone();
    let mut instances = Instances::new(move || topology(&id), through);
    instances.start();
    instances.start();
    let (stop, fed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let feeder = {
        let (job, stop, fed) = (Arc::clone(&job), Arc::clone(&stop), Arc::clone(&fed));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let from = fed.load(Ordering::Relaxed);
                job.feed(from..from + 100, 1_000, |_| ());
                fed.store(from + 100, Ordering::Relaxed);
            }
        })
    };
    // Of each instance, not of any: a fault strikes one of them.
    let commits = |instances: &Instances| -> Vec<u64> {
        instances.status().iter().map(|status| status.commits.commits).collect()
    };
    let go_on = |before: &[u64], instances: &Instances| {
        let now = commits(instances);
        now.len() == before.len() && now.iter().zip(before).all(|(now, then)| *now > then + 3)
    };
    soon("the first commits", || go_on(&[0, 0], &instances)).await;
    for (name, kind, wire) in FAULTS {
        let (before, began) = (proxy.fired(kind, wire), Instant::now());
        proxy.next(kind, wire);
        soon(name, || proxy.fired(kind, wire) > before).await;
        let committed = commits(&instances);
        soon("work goes on", || go_on(&committed, &instances)).await;
        // By now other transactions have begun.
        let late = proxy.release();
        println!("{name} {wire:?}: {late} late, work goes on after {:?}", began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    feeder.join().expect("fed");
    let total = fed.load(Ordering::Relaxed);
    let checked = Arc::clone(&job);
    let check = move || checked.check(total, Duration::from_secs(60));
    tokio::task::spawn_blocking(check).await.expect("nothing lost, doubled or torn");
    instances.stop_all().await;
}

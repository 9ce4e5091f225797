//! On a real broker: the group does not know a member any more that is about to join again. Its
//! client takes another name, and may be given what it has without a word about what it lost. Its
//! tasks begin anew under the new name: nothing is lost or done twice, and work goes on.
//!
//! `HEADWATER_ROUNDS=20` does it so many times; once is the default.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater::{Config, Transactions};
use support::Instances;
use support::counting::{Counting, topology};
use support::log::Log;
use testkit::kafka_proxy::{KafkaProxy, Wire, api, error};

const REFUSED: Wire = Wire::Refused(error::UNKNOWN_MEMBER_ID);

/// Said of each task that is opened again.
const RENAMED: &str = "the client is another member now";

async fn soon(what: &str, is_true: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_true() {
        assert!(Instant::now() < until, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_members_begin_anew() {
    let Some((direct, client)) = support::kafka() else { return };
    let log = Log::start();
    let proxy = KafkaProxy::start(direct.broker.trim_start_matches("kafka://")).expect("a proxy");
    let job = Arc::new(Counting::new(support::unique("renamed"), client));
    let mut through = Config { broker: format!("kafka://{}", proxy.address()), ..direct.clone() };
    // A static member: a dynamic one is told by the broker to take another name first, and its
    // client then says what is lost.
    through.instance_id = Some("renamed".into());
    through.kafka.transactions = Transactions::V2;
    let (one, other) = (job.id.clone(), job.id.clone());
    let mut renaming = Instances::new(move || topology(&one), through);
    let mut others = Instances::new(move || topology(&other), direct);
    renaming.start();
    let (stop, fed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let feeder = {
        let (job, stop, fed) = (Arc::clone(&job), Arc::clone(&stop), Arc::clone(&fed));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let from = fed.load(Ordering::Relaxed);
                job.feed(from..from + 500, 1_000, |_| ());
                fed.store(from + 500, Ordering::Relaxed);
            }
        })
    };
    let commits = |instances: &Instances| instances.status()[0].commits.commits;
    soon("the first commits", || commits(&renaming) > 3).await;
    for _ in 0..support::rounds() {
        let (before, renamed_before) = (proxy.fired(api::JOIN_GROUP, REFUSED), log.says(RENAMED));
        proxy.next(api::JOIN_GROUP, REFUSED);
        others.start();
        soon("a join is refused", || proxy.fired(api::JOIN_GROUP, REFUSED) > before).await;
        soon("the tasks begin anew", || log.says(RENAMED) > renamed_before).await;
        let committed = commits(&renaming);
        soon("work goes on", || commits(&renaming) > committed + 3).await;
        others.stop_first().await;
        let committed = commits(&renaming);
        soon("work goes on alone", || commits(&renaming) > committed + 3).await;
    }
    stop.store(true, Ordering::Relaxed);
    feeder.join().expect("fed");
    println!("tasks were opened again {} times", log.says(RENAMED));
    let (checked, total) = (Arc::clone(&job), fed.load(Ordering::Relaxed));
    let check = move || checked.check(total, Duration::from_secs(60));
    tokio::task::spawn_blocking(check).await.expect("nothing lost or doubled");
    renaming.stop_all().await;
}

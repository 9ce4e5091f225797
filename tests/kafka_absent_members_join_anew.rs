//! On a real broker: the group forgets a member, and its client does not come back to it. After
//! half a minute the instance joins anew, with a client that knows nothing of the first one's
//! trouble; nothing is lost or done twice.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater::Config;
use support::Instances;
use support::counting::{Counting, topology};
use support::log::Log;
use testkit::kafka_proxy::{KafkaProxy, Wire, api, error};

const FORGOTTEN: Wire = Wire::Refused(error::UNKNOWN_MEMBER_ID);
const NOT_NOW: Wire = Wire::Refused(error::COORDINATOR_LOAD_IN_PROGRESS);

async fn soon(what: &str, within: u64, mut is_true: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(within);
    while !is_true() {
        assert!(Instant::now() < until, "{what}: not within {within} s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_members_join_anew() {
    let Some((config, client)) = support::kafka() else { return };
    let log = Log::start();
    let proxy = KafkaProxy::start(config.broker.trim_start_matches("kafka://")).expect("a proxy");
    let job = Arc::new(Counting::new(support::unique("absent"), client));
    let through = Config {
        broker: format!("kafka://{}", proxy.address()),
        instance_id: Some("absent".into()),
        session_timeout: Duration::from_secs(6),
        ..config
    };
    let id = job.id.clone();
    let mut instances = Instances::new(move || topology(&id), through);
    instances.start();
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
    let commits = || instances.status()[0].commits.commits;
    soon("the first commits", 60, || commits() > 3).await;
    proxy.next(api::HEARTBEAT, FORGOTTEN);
    let mut refused = 0;
    // One refusal is ready at any time.
    soon("the instance joins anew", 90, || {
        if proxy.fired(api::JOIN_GROUP, NOT_NOW) == refused {
            proxy.next(api::JOIN_GROUP, NOT_NOW);
            refused += 1;
        }
        log.says("has not become a member again in a long time") > 0
    })
    .await;
    assert!(proxy.fired(api::JOIN_GROUP, NOT_NOW) > 3, "it did not try");
    let (committed, began) = (commits(), Instant::now());
    soon("work goes on", 60, || commits() > committed + 3).await;
    println!("work went on after {:?}", began.elapsed());
    stop.store(true, Ordering::Relaxed);
    feeder.join().expect("fed");
    let (checked, total) = (Arc::clone(&job), fed.load(Ordering::Relaxed));
    let check = move || checked.check(total, Duration::from_secs(60));
    tokio::task::spawn_blocking(check).await.expect("nothing lost or doubled");
    instances.stop_all().await;
}

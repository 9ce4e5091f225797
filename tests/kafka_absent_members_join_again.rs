//! On a real broker: the group forgets a member, and its client does not recover. After half a
//! minute the instance joins again with a new client; nothing is lost or done twice.

mod support;

use std::time::{Duration, Instant};

use headwater::Config;
use support::counting::{Counting, Feeder, topology};
use support::log::Log;
use support::{Instances, soon};
use testkit::kafka_proxy::{KafkaProxy, Wire, api, error};

const FORGOTTEN: Wire = Wire::Refused(error::UNKNOWN_MEMBER_ID);
const NOT_NOW: Wire = Wire::Refused(error::COORDINATOR_LOAD_IN_PROGRESS);

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn absent_members_join_again() {
    let Some((config, client)) = support::kafka() else { return };
    let log = Log::start();
    let proxy = KafkaProxy::start(config.broker.trim_start_matches("kafka://")).expect("a proxy");
    let job = Counting::new(support::unique("absent"), client);
    let through = Config {
        broker: format!("kafka://{}", proxy.address()),
        instance_id: Some("absent".into()),
        session_timeout: Duration::from_secs(6),
        ..config
    };
    let id = job.id.clone();
    let mut instances = Instances::new(move || topology(&id), through);
    instances.start();
    let feeder = Feeder::start(job, 500, 1_000);
    let commits = || instances.status()[0].commits.commits;
    soon("the first commits", MINUTE, || commits() > 3).await;
    proxy.next(api::HEARTBEAT, FORGOTTEN);
    let mut refused = 0;
    // One refusal is always pending.
    soon("the instance joins again", MINUTE * 3 / 2, || {
        if proxy.fired(api::JOIN_GROUP, NOT_NOW) == refused {
            proxy.next(api::JOIN_GROUP, NOT_NOW);
            refused += 1;
        }
        log.says("has not become a member again in a long time") > 0
    })
    .await;
    assert!(proxy.fired(api::JOIN_GROUP, NOT_NOW) > 3, "it did not try");
    let committed = commits();
    let began = Instant::now();
    soon("work goes on", MINUTE, || commits() > committed + 3).await;
    println!("work went on after {:?}", began.elapsed());
    let check = move || feeder.finish();
    tokio::task::spawn_blocking(check).await.expect("nothing lost or doubled");
    instances.stop_all().await;
}

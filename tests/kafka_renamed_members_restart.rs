//! On a real broker: the group no longer knows a member that is about to join again. Its client
//! takes another member id, and may get the same partitions without reporting that it lost them.
//! Its tasks restart under the new id: nothing is lost or done twice, and work continues.
//!
//! `HEADWATER_ROUNDS=20` does it 20 times; the default is once.

mod support;

use std::time::Duration;

use headwater::Config;
use headwater::config::Transactions;
use support::counting::{Counting, Feeder, topology};
use support::log::Log;
use support::{Instances, soon};
use testkit::kafka_proxy::{KafkaProxy, Wire, api, error};

const REFUSED: Wire = Wire::Refused(error::UNKNOWN_MEMBER_ID);

/// Said of each task that is opened again.
const RENAMED: &str = "the client has a new member id";

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_renamed_members_restart() {
    let Some((direct, client)) = support::kafka() else { return };
    let log = Log::start();
    let proxy = KafkaProxy::start(direct.broker.trim_start_matches("kafka://")).expect("a proxy");
    let job = Counting::new(support::unique("renamed"), client);
    let mut through = Config { broker: format!("kafka://{}", proxy.address()), ..direct.clone() };
    // A static member: the broker makes a dynamic one request another id first, and its client then
    // reports the loss.
    through.instance_id = Some("renamed".into());
    through.kafka.transactions = Transactions::V2;
    let one = job.id.clone();
    let other = job.id.clone();
    let mut renaming = Instances::new(move || topology(&one), through);
    let mut others = Instances::new(move || topology(&other), direct);
    renaming.start();
    let feeder = Feeder::start(job, 500, 1_000);
    let commits = |instances: &Instances| instances.status()[0].commits.commits;
    soon("the first commits", MINUTE, || commits(&renaming) > 3).await;
    for _ in 0..support::rounds() {
        let before = proxy.fired(api::JOIN_GROUP, REFUSED);
        let renamed_before = log.says(RENAMED);
        proxy.next(api::JOIN_GROUP, REFUSED);
        others.start();
        soon("a join is refused", MINUTE, || proxy.fired(api::JOIN_GROUP, REFUSED) > before).await;
        soon("the tasks restart", MINUTE, || log.says(RENAMED) > renamed_before).await;
        let committed = commits(&renaming);
        soon("work continues", MINUTE, || commits(&renaming) > committed + 3).await;
        others.stop_first().await;
        let committed = commits(&renaming);
        soon("work continues alone", MINUTE, || commits(&renaming) > committed + 3).await;
    }
    println!("tasks were opened again {} times", log.says(RENAMED));
    let check = move || feeder.finish();
    tokio::task::spawn_blocking(check).await.expect("nothing lost or doubled");
    renaming.stop_all().await;
}

//! A join, a merge, an agent's table: records of several inputs are processed in the order of their
//! timestamps, however large the backlog of each input is.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater::Topology;
use headwater::agents::{AgentResult, Context, Records};
use headwater::config::TaskIdle;
use headwater::prelude::*;
use support::{Instances, embedded, kafka, unique};

/// Records of each input in a round, spread over `KEYS` keys.
const RECORDS: i64 = 10_000;
const KEYS: i64 = 100;
const PARTITIONS: i32 = 3;

/// The topics of one test. Name `i` has the timestamp `2 i + 1`, order `i` has `2 i + 2`:
/// librdkafka would replace a timestamp of 0 by the current time.
struct Shop {
    id: String,
    names: Topic<String, i64>,
    orders: Topic<String, i64>,
    joined: Topic<String, String>,
    seen: Topic<String, String>,
}

impl Shop {
    fn new(client: &Client) -> Self {
        let id = unique("lag");
        let shop = Self {
            names: Topic::new(format!("{id}-names")),
            orders: Topic::new(format!("{id}-orders")),
            joined: Topic::new(format!("{id}-joined")),
            seen: Topic::new(format!("{id}-seen")),
            id,
        };
        let inputs = [shop.names.name(), shop.orders.name()];
        for topic in inputs.into_iter().chain([shop.joined.name(), shop.seen.name()]) {
            // The timestamps are in 1970: Kafka would soon delete such records.
            let config = [("retention.ms", "-1")];
            client.create_topic_with(topic, PARTITIONS, &config).expect("created");
        }
        shop
    }

    /// Orders with the last name before them, by the DSL and by an agent.
    fn topology(&self) -> impl Fn() -> Topology + use<> {
        let id = self.id.clone();
        let names = self.names.clone();
        let orders = self.orders.clone();
        let joined = self.joined.clone();
        let seen = self.seen.clone();
        move || {
            let app = Builder::new(id.as_str());
            let table = Table::<String, i64>::new("names");
            let rows = app.table(&names, &table);
            app.stream(&orders)
                .left_join_table(&rows, |_, order, name| text(*order, name))
                .to(&joined);
            let table = table.clone();
            let to = seen.clone();
            app.agent("look", &orders)
                .reads(&table)
                .sends(&seen)
                .run(move |records, cx| look(records, cx, table.clone(), to.clone()));
            app.build().expect("valid")
        }
    }

    /// Writes the inputs of a round, names first, then orders, and waits until they are
    /// acknowledged.
    fn write(&self, client: &Client, round: i64) {
        let mut writer = client.writer().expect("a writer");
        for (topic, late) in [(&self.names, 0), (&self.orders, 1)] {
            for number in round * RECORDS..(round + 1) * RECORDS {
                let key = format!("k{}", number % KEYS);
                writer.send(topic, &key, &number, 1 + 2 * number + late).expect("sent");
            }
            writer.flush().expect("flushed");
        }
    }

    /// The results, once there are `count` of each kind.
    async fn results(&self, client: &Client, count: i64) -> [BTreeMap<String, usize>; 2] {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let results = [&self.joined, &self.seen].map(|topic| {
                let mut reader = client.reader(topic).expect("a reader");
                let mut results = BTreeMap::new();
                for read in reader.read_to_end().expect("read") {
                    *results.entry(read.record.value).or_default() += 1;
                }
                results
            });
            let is_all = results.iter().all(|one| one.values().sum::<usize>() as i64 >= count);
            if is_all || Instant::now() > until {
                return results;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn text(order: i64, name: Option<&i64>) -> String {
    format!("{order} of {}", name.map_or_else(|| "nobody".to_owned(), i64::to_string))
}

async fn look(
    mut orders: Records<String, i64>,
    cx: Context,
    names: Table<String, i64>,
    to: Topic<String, String>,
) -> AgentResult {
    while let Some(order) = orders.next().await {
        let name = cx.table(&names).get(&order.key)?;
        cx.send(&to, order.key, text(order.value, name.as_ref()))?;
    }
    Ok(())
}

/// Each order has its own name, once.
fn check(results: &[BTreeMap<String, usize>; 2], count: i64) {
    let right = |number: i64| text(number, Some(&number));
    let expected: BTreeMap<_, _> = (0..count).map(|number| (right(number), 1)).collect();
    for (results, kind) in results.iter().zip(["joined", "seen by the agent"]) {
        let wrong: Vec<_> =
            results.iter().filter(|(text, _)| !expected.contains_key(*text)).collect();
        let some = &wrong[..wrong.len().min(5)];
        assert!(wrong.is_empty(), "{kind}: {} of {count} are wrong: {some:?}", wrong.len());
        assert_eq!(*results, expected, "{kind}");
    }
}

async fn a_backlog_is_joined_by_time(config: Config, client: Client) {
    let shop = Shop::new(&client);
    shop.write(&client, 0);
    let mut instances = Instances::new(shop.topology(), config);
    instances.start();
    check(&shop.results(&client, RECORDS).await, RECORDS);
    instances.stop_all().await;
    // The same after a stop, with two instances that share the backlog.
    shop.write(&client, 1);
    instances.start();
    instances.start();
    check(&shop.results(&client, 2 * RECORDS).await, 2 * RECORDS);
    instances.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log_a_backlog_is_joined_by_time() {
    let (config, client) = embedded();
    a_backlog_is_joined_by_time(config, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_a_backlog_is_joined_by_time() {
    let Some((config, client)) = kafka() else { return };
    a_backlog_is_joined_by_time(config, client).await;
}

/// As over TLS, where librdkafka fetches.
#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_by_librdkafka_a_backlog_is_joined_by_time() {
    let Some((mut config, client)) = kafka() else { return };
    config.kafka.consumer.insert("check.crcs".to_owned(), "true".to_owned());
    a_backlog_is_joined_by_time(config, client).await;
}

/// A task waits for records that are not in the log yet as long as the configuration says.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_late_data_as_long_as_configured() {
    let (mut config, client) = embedded();
    config.task_idle = TaskIdle::Wait(Duration::from_secs(3));
    let shop = Shop::new(&client);
    let mut instances = Instances::new(shop.topology(), config);
    instances.start();
    let send = |topic: &Topic<String, i64>, value: i64, timestamp: i64| {
        let mut writer = client.writer().expect("a writer");
        writer.send(topic, &"k".to_owned(), &value, timestamp).expect("sent");
        writer.flush().expect("flushed");
    };
    send(&shop.orders, 7, 15);
    tokio::time::sleep(Duration::from_millis(500)).await;
    send(&shop.names, 7, 14);
    let results = shop.results(&client, 1).await;
    assert_eq!(results[0].keys().collect::<Vec<_>>(), ["7 of 7"], "the name came in time");
    // The input stays empty: after one wait the task does not wait for it again.
    let began = Instant::now();
    send(&shop.orders, 8, 17);
    let results = shop.results(&client, 2).await;
    assert!(results[0].contains_key("8 of 7"), "{results:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "it waited {:?}", began.elapsed());
    instances.stop_all().await;
}

/// With latency preferred over order, a task does not wait at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_configured_not_to_wait_does_not() {
    let (mut config, client) = embedded();
    config.task_idle = TaskIdle::Off;
    let shop = Shop::new(&client);
    shop.write(&client, 0);
    let mut instances = Instances::new(shop.topology(), config);
    instances.start();
    let results = shop.results(&client, RECORDS).await;
    assert_eq!(results[0].values().sum::<usize>() as i64, RECORDS);
    instances.stop_all().await;
}

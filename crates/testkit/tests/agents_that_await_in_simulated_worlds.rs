//! Agents that await calls, time-outs and timers, and calls of `map_async`, in simulated worlds
//! where everything goes wrong. They send and keep the same as a single process that handles one
//! record after the other, and every record's call was answered.
//!
//! `HEADWATER_SEEDS=10000 cargo test --release -p headwater-testkit --test
//! agents_that_await_in_simulated_worlds`; `HEADWATER_SEED=7` runs that seed alone and prints its
//! history.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::agents::{Async, Call};
use headwater::errors::Backoff;
use headwater::prelude::*;
use headwater_testkit::{CallError, Calls, Outcome, Simulation, simulate};
use tokio::time::{sleep, timeout};

const RECORDS: u64 = 60;
const PARTITIONS: i32 = 3;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn orders() -> Topic<String, u64> {
    Topic::new("orders")
}

fn paid() -> Topic<String, String> {
    Topic::new("paid")
}

fn batched() -> Topic<String, u64> {
    Topic::new("batched")
}

fn rated() -> Topic<String, u64> {
    Topic::new("rated")
}

fn priced() -> Topic<String, u64> {
    Topic::new("priced")
}

fn prices() -> Table<String, u64> {
    Table::new("prices")
}

fn payments() -> Table<String, u64> {
    Table::new("payments")
}

/// Calls a service until it answers, counts in its table, and sends on both sides of the wait.
async fn pay(mut orders: Records<String, u64>, cx: Context, service: Calls) -> AgentResult {
    while let Some(Record { key, value, .. }) = orders.next().await {
        let number = cx.table(&payments()).update(&key, |number| *number += 1)?;
        cx.send(&paid(), key.clone(), format!("{value} is begun as number {number}"))?;
        let mut wait = 20;
        while !matches!(timeout(millis(400), service.call(value)).await, Ok(Ok(()))) {
            sleep(millis(wait)).await;
            wait = (wait * 2).min(500);
        }
        let still = cx.table(&payments()).get(&key)?;
        cx.send(&paid(), key, format!("{value} is done as number {still:?}"))?;
    }
    Ok(())
}

/// Takes batches, sleeps over each, and sends its records one by one.
async fn collect(mut orders: Records<String, u64>, cx: Context) -> AgentResult {
    loop {
        let batch = orders.take(4, millis(300)).await;
        sleep(millis(7 * batch.len() as u64)).await;
        for Record { key, value, .. } in batch {
            cx.send(&batched(), key, value)?;
        }
    }
}

/// One of several concurrent agents; all records of a key go to the same one.
async fn rate(mut orders: Records<String, u64>, cx: Context, service: Calls) -> AgentResult {
    while let Some(Record { key, value, .. }) = orders.next().await {
        let id = format!("rate {value}");
        while !matches!(timeout(millis(350), service.call(&id)).await, Ok(Ok(()))) {
            sleep(millis(30)).await;
        }
        cx.send(&rated(), key, value)?;
    }
    Ok(())
}

/// Concurrent calls, whose results go to a topic and into a table.
fn price(app: &Builder, service: &Calls) {
    let settings = Async::in_flight(5)
        .timeout(millis(300))
        .retry(1_000, Backoff::exponential(millis(20), millis(500)))
        .serial_per_key();
    let service = service.clone();
    let answered = app
        .stream(&orders())
        .map_async("price", settings, move |call: Call<String, u64>| {
            let service = service.clone();
            async move {
                service.call(&call.id).await?;
                Ok::<_, CallError>(call.record.value * 2)
            }
        })
        .shared();
    answered.clone().to(&priced());
    answered.group_by_key().reduce(&prices(), |sum, price| sum + price).to(&Topic::new("sums"));
}

fn topology(service: &Calls) -> Topology {
    let app = Builder::new("payments");
    let events = app.stream(&orders());
    events.group_by_key().count(&Table::new("seen")).to(&Topic::new("counts"));
    price(&app, service);
    let service = service.clone();
    let rater = service.clone();
    app.agent("pay", &orders())
        .writes(&payments())
        .sends(&paid())
        .run(move |orders, cx| pay(orders, cx, service.clone()));
    app.agent("rate", &orders())
        .sends(&rated())
        .concurrency(3)
        .run(move |orders, cx| rate(orders, cx, rater.clone()));
    app.agent("collect", &orders()).sends(&batched()).run(collect);
    app.build().expect("valid")
}

fn world(seed: u64) -> Simulation {
    let service = Calls::new(seed)
        .latency(millis(5)..=millis(150))
        .failing(0.15)
        .losing_answers(0.05)
        .hanging(0.03)
        .away(millis(2_000)..millis(4_000));
    let described = service.clone();
    let mut simulation = Simulation::new(seed, move || topology(&described))
        .config(|config| {
            config.worker_threads = 1 + seed as usize % 2;
            config.transaction_timeout = Duration::from_secs(10);
        })
        .feed(&orders(), RECORDS, |dice, n| Record::new(format!("user-{}", dice.below(7)), n, 0));
    for topic in ["orders", "paid", "batched", "priced", "rated", "sums", "counts"] {
        simulation = simulation.topic(topic, PARTITIONS);
    }
    simulation.check(move |outcome| judge(outcome, &service))
}

/// All topics have the same number of partitions, so an output partition comes from the same
/// partition of the orders.
fn judge(outcome: &Outcome, service: &Calls) -> Result<(), Box<dyn Error>> {
    let orders = outcome.committed(&orders())?;
    let mut numbers = BTreeMap::<String, u64>::new();
    let mut expected = Vec::new();
    let mut sums = BTreeMap::<String, u64>::new();
    let mut doubled = Vec::new();
    for Record { key, value, .. } in &orders {
        *sums.entry(key.clone()).or_default() += value * 2;
        doubled.push((key.clone(), value * 2));
        let number = numbers.entry(key.clone()).or_default();
        *number += 1;
        expected.push((key.clone(), format!("{value} is begun as number {number}")));
        expected.push((key.clone(), format!("{value} is done as number {:?}", Some(*number))));
        assert!(service.of(value).served > 0, "{value} was never answered");
    }
    assert_eq!(orders.len() as u64, RECORDS);
    assert_eq!(pairs(outcome.committed(&paid())?), expected);
    assert_eq!(outcome.table_rows(&payments())?, numbers);
    assert_eq!(pairs(outcome.committed(&priced())?), doubled);
    assert_eq!(outcome.table_rows(&prices())?, sums);
    let answered = service.counts().into_iter().filter(|(id, _)| id.starts_with("orders-"));
    let answered: Vec<_> = answered.collect();
    assert_eq!(answered.len() as u64, RECORDS);
    assert!(answered.iter().all(|(_, counts)| counts.served > 0), "{answered:?}");
    assert_eq!(pairs(outcome.committed(&rated())?), pairs(orders.clone()));
    assert_eq!(pairs(outcome.committed(&batched())?), pairs(orders));
    Ok(())
}

fn pairs<V>(records: Vec<Record<String, V>>) -> Vec<(String, V)> {
    records.into_iter().map(|record| (record.key, record.value)).collect()
}

#[test]
fn each_record_is_handled_once_and_in_order() {
    let summary = simulate(0..60, world);
    println!("{}", summary.unwrap_or_else(|failure| panic!("{failure}")));
}

fn slowly() -> Topic<String, u64> {
    Topic::new("slowly")
}

/// A minute for each record: longer than sessions, transactions, and the time with faults.
async fn sleep_over_each(mut orders: Records<String, u64>, cx: Context) -> AgentResult {
    while let Some(Record { key, value, .. }) = orders.next().await {
        sleep(Duration::from_secs(60)).await;
        cx.send(&slowly(), key, value)?;
    }
    Ok(())
}

fn a_count_and_a_slow_agent() -> Topology {
    let app = Builder::new("slow");
    let counts = Table::<String, u64>::new("seen");
    app.stream(&orders()).group_by_key().count(&counts).to(&Topic::new("counts"));
    app.agent("sleep", &orders()).sends(&slowly()).run(sleep_over_each);
    app.build().expect("valid")
}

#[test]
fn a_record_may_take_longer_than_everything_else() {
    let summary = simulate(0..12, |seed| {
        Simulation::new(seed, a_count_and_a_slow_agent)
            .topic("orders", 3)
            .topic("slowly", 3)
            .topic("counts", 3)
            .feed(&orders(), 12, |dice, n| Record::new(format!("user-{}", dice.below(7)), n, 0))
            .check(|outcome| {
                let fed = pairs(outcome.committed(&orders())?);
                assert_eq!(pairs(outcome.committed(&slowly())?), fed);
                let counts = outcome.committed(&Topic::<String, u64>::new("counts"))?;
                assert_eq!(counts.len(), fed.len());
                Ok(())
            })
    });
    println!("{}", summary.unwrap_or_else(|failure| panic!("{failure}")));
}

//! Looks up the price of each order from an HTTP service: many requests at a time, with a time-out
//! and retries, and results in the order of the orders. Each request carries the record's id, so
//! that the service can recognise a repeated one.
//!
//! `cargo run --release --example enrichment -- [--broker kafka://127.0.0.1:9092]`

use std::time::Duration;

use example_support::prices::Prices;
use headwater::agents::{Async, Call};
use headwater::errors::{Backoff, BoxError};
use headwater::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    sku: String,
    pieces: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Priced {
    sku: String,
    cents: u64,
}

/// Any other status is an error, and is retried.
async fn price(
    http: reqwest::Client,
    service: String,
    call: Call<String, Order>,
) -> Result<Priced, BoxError> {
    let Order { sku, pieces } = call.record.value;
    let request = http.get(format!("{service}/prices/{sku}"));
    let request = request.header("idempotency-key", call.id.to_string());
    let answer = request.send().await?.error_for_status()?.text().await?;
    let cents: u64 = answer.trim().parse()?;
    Ok(Priced { sku, cents: cents * pieces })
}

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let orders = Topic::<String, Order>::json("example-unpriced");
    let priced = Topic::<String, Priced>::json("example-priced");
    let prices = Prices::start().await?;

    let app = Builder::new("example-enrichment");
    let http = reqwest::Client::new();
    let service = prices.url();
    let second = Duration::from_secs(1);
    let calls = Async::in_flight(64)
        .timeout(2 * second)
        .retry(5, Backoff::exponential(second / 20, second));
    app.stream(&orders)
        .map_async("price", calls, move |call| price(http.clone(), service.clone(), call))
        .to(&priced);
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    for topic in [orders.name(), priced.name()] {
        example_support::create_topic(&client, topic, 3)?;
    }
    let mut writer = client.writer()?;
    for number in 0..300_u64 {
        let order = Order { sku: format!("sku-{}", number % 17), pieces: 1 + number % 3 };
        writer.send(&orders, &format!("customer-{}", number % 9), &order, 1 + number as i64)?;
    }
    writer.flush()?;

    let running = example_support::start(topology, &config);
    let all = example_support::read_until(&client, &priced, |priced| priced.len() >= 300).await?;
    running.stop().await?;
    for order in all.iter().take(3) {
        println!("{}: {} for {} cents", order.key, order.value.sku, order.value.cents);
    }
    let (asked, refused) = prices.counts();
    println!("{} orders priced; the service refused {refused} of {asked} requests", all.len());
    Ok(())
}

//! A running count per customer, in a table with a changelog.
//!
//! `cargo run --release --example customer_counts -- [--broker kafka://127.0.0.1:9092]`

use std::collections::BTreeMap;

use example_support::orders::{self, Order};
use headwater::prelude::*;

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let orders = Topic::<String, Order>::json("example-counted-orders");
    let counts = Topic::<String, u64>::json("example-customer-counts");
    let table = Table::<String, u64>::new("orders-per-customer");

    let app = Builder::new("example-customer-counts");
    app.stream(&orders).group_by_key().count(&table).to(&counts);
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    example_support::create_topic(&client, orders.name(), 4)?;
    example_support::create_topic(&client, counts.name(), 4)?;
    orders::write(&client, &orders, 0..1_000)?;

    let running = example_support::start(topology, &config);
    let updates =
        example_support::read_until(&client, &counts, |updates| updates.len() >= 1_000).await?;
    running.stop().await?;
    let last: BTreeMap<_, _> = updates.into_iter().map(|one| (one.key, one.value)).collect();
    for (customer, count) in &last {
        println!("{customer:>10} {count:>5}");
    }
    println!("{} orders of {} customers", last.values().sum::<u64>(), last.len());
    Ok(())
}

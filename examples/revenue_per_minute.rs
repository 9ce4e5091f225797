//! Revenue per minute over all categories, with every update: the opposite of waiting for the final
//! result.
//!
//! `cargo run --release --example revenue_per_minute -- [--broker kafka://127.0.0.1:9092]`

use std::collections::BTreeMap;
use std::time::Duration;

use example_support::orders::{self, Order, euros};
use headwater::prelude::*;

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let sales = Topic::<String, Order>::json("example-revenue-sales");
    let revenue = Topic::<i64, u64>::json("example-revenue-per-minute");

    let app = Builder::new("example-revenue-per-minute");
    app.stream(&sales)
        .map_values(|sale| sale.cents)
        .group_by("all", |_, _| "all".to_owned())
        .window(Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(600)))
        .reduce(&Table::new("revenue-by-minute"), |sum, cents| sum + cents)
        .updates()
        .map(|window, cents| (window.start, cents))
        .to(&revenue);
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    example_support::create_topic(&client, sales.name(), 4)?;
    example_support::create_topic(&client, revenue.name(), 1)?;
    orders::write(&client, &sales, 0..600)?;

    let running = example_support::start(topology, &config);
    let updates =
        example_support::read_until(&client, &revenue, |updates| updates.len() >= 600).await?;
    running.stop().await?;
    let last: BTreeMap<_, _> = updates.into_iter().map(|one| (one.key, one.value)).collect();
    for (minute, cents) in &last {
        println!("minute {} {:>12}", (minute - orders::OPENING) / 60_000, euros(*cents));
    }
    println!("600 updates of {} minutes: {}", last.len(), euros(last.values().sum()));
    Ok(())
}

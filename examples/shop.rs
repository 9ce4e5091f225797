//! The shop: three applications in one process turn orders into shipments, count customers' orders
//! and sum sales per minute, exactly once.
//!
//! `./dev demo [--dir ./data | --broker kafka://127.0.0.1:9092] [--state-dir ./state]`
//!
//! With `--dir`, run it again, or kill it and run it again: it continues where it stopped, and the
//! totals are right.

use std::time::{Duration, Instant};

use example_support::books::{Books, Outputs, audit};
use example_support::orders::{Sales, Shipment, clock, placed_at};
use example_support::shop::{GRACE, Generator, MINUTE, ShopTopics, minute_key};
use example_support::{Result, RunningApp};
use headwater::Topology;
use headwater::prelude::*;

/// Orders of one run, and how many are placed at a time.
const ORDERS: u64 = 3_000;
const BATCH: u64 = 60;

fn topologies(topics: &ShopTopics) -> Result<Vec<Topology>> {
    let shipping = Builder::new("shop-shipping");
    shipping
        .stream(&topics.orders)
        .filter(|_, order| order.paid)
        .map_values(Shipment::from)
        .to(&topics.shipments);

    let counting = Builder::new("shop-counting");
    let table = Table::<String, u64>::new("orders-per-customer");
    counting.stream(&topics.orders).group_by_key().count(&table).to(&topics.counts);

    let minutes = Tumbling::of(Duration::from_millis(MINUTE as u64))
        .grace(Duration::from_millis(GRACE as u64));
    let selling = Builder::new("shop-selling");
    selling
        .stream(&topics.sales)
        .group_by_key()
        .window(minutes)
        .aggregate(&Table::json("sales-by-minute"), Sales::default, Sales::add)
        .closed()
        .map(|window, sales| (minute_key(window.start, &window.key), sales))
        .to(&topics.per_minute);
    Ok(vec![shipping.build()?, counting.build()?, selling.build()?])
}

#[tokio::main]
async fn main() -> Result {
    let config = example_support::config()?;
    let client = headwater::client(&config)?;
    let topics = ShopTopics::create(&client)?;
    let mut generator = Generator::new(&client, &topics)?;
    let mut outputs = Outputs::new(&client, &topics)?;
    println!("The shop on {}, open at order number {}", config.broker, generator.next);
    let apps: Vec<RunningApp> =
        topologies(&topics)?.into_iter().map(|one| example_support::start(one, &config)).collect();

    println!("{:>8} {:>10} {:>9}  {:<8} latest minute", "orders", "shipments", "minutes", "clock");
    let last = generator.next + ORDERS;
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut books = Books::default();
    while generator.next < last || outputs.books != books {
        if generator.next < last {
            generator.place(BATCH.min(last - generator.next))?;
            books = Books::of(generator.next);
        }
        outputs.read()?;
        let shipped = outputs.books.shipments.len();
        let minutes = outputs.books.minutes.len();
        let now = clock(placed_at(generator.next));
        println!("{:>8} {shipped:>10} {minutes:>9}  {now:<8} {}", generator.next, outputs.latest);
        if apps.iter().any(RunningApp::has_failed) || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for app in apps {
        app.stop().await?;
    }
    outputs.read()?;
    audit(&books, &outputs.books, &outputs.twice)
}

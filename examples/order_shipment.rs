//! From orders to shipments: the paid orders, each turned into a shipment, each exactly once.
//!
//! `cargo run --release --example order_shipment -- [--broker kafka://127.0.0.1:9092]`

use example_support::orders::{self, Order, Shipment};
use headwater::prelude::*;

#[tokio::main]
async fn main() -> example_support::Result {
    let config = example_support::config()?;
    let orders = Topic::<String, Order>::json("example-orders");
    let shipments = Topic::<String, Shipment>::json("example-shipments");

    let app = Builder::new("example-order-shipment");
    app.stream(&orders).filter(|_, order| order.paid).map_values(Shipment::from).to(&shipments);
    let topology = app.build()?;
    print!("{}", topology.describe());

    let client = headwater::client(&config)?;
    example_support::create_topic(&client, orders.name(), 4)?;
    example_support::create_topic(&client, shipments.name(), 4)?;
    orders::write(&client, &orders, 0..1_000)?;

    let running = example_support::start(topology, &config);
    let paid = (0..1_000).filter(|id| orders::order(*id).paid).count();
    let sent = example_support::read_until(&client, &shipments, |sent| sent.len() >= paid).await?;
    running.stop().await?;
    for shipment in sent.iter().take(3) {
        println!("{}: order {}, {}", shipment.key, shipment.value.order, shipment.value.status);
    }
    println!("1000 orders, {paid} of them paid, {} shipments", sent.len());
    Ok(())
}

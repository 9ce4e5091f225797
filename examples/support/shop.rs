//! The shop's topics and its generator.

use std::collections::BTreeSet;

use super::Result;
use super::orders::{self, Order, Sales, Shipment};
use headwater::client::RecordWriter;
use headwater::prelude::*;

pub const PARTITIONS: i32 = 4;
pub const MINUTE: i64 = 60_000;
pub const GRACE: i64 = 10_000;

/// A category's sales in a minute, as they are sent.
pub type MinuteKey = String;

pub fn minute_key(start: i64, category: &str) -> MinuteKey {
    format!("{} {category}", orders::clock(start))
}

#[derive(Clone)]
pub struct ShopTopics {
    pub orders: Topic<String, Order>,
    pub sales: Topic<String, Order>,
    pub shipments: Topic<String, Shipment>,
    pub counts: Topic<String, u64>,
    pub per_minute: Topic<MinuteKey, Sales>,
}

impl ShopTopics {
    pub fn create(client: &Client) -> Result<Self> {
        let topics = Self {
            orders: Topic::json("shop-orders"),
            sales: Topic::json("shop-sales"),
            shipments: Topic::json("shop-shipments"),
            counts: Topic::json("shop-customer-counts"),
            per_minute: Topic::json("shop-sales-per-minute"),
        };
        let inputs = [topics.orders.name(), topics.sales.name()];
        let outputs = [topics.shipments.name(), topics.counts.name(), topics.per_minute.name()];
        for name in inputs.into_iter().chain(outputs) {
            super::create_topic(client, name, PARTITIONS)?;
        }
        Ok(topics)
    }
}

/// Places orders: each becomes an order event, keyed by customer, and a sale event, keyed by
/// category.
pub struct Generator {
    topics: ShopTopics,
    writer: RecordWriter,
    pub next: u64,
}

impl Generator {
    /// Continues where the topics end: an order that a crash kept from one of them is placed first.
    pub fn new(client: &Client, topics: &ShopTopics) -> Result<Self> {
        let ids = |topic: &Topic<String, Order>| -> Result<BTreeSet<u64>> {
            let placed = client.reader(topic)?.read_to_end()?;
            Ok(placed.into_iter().map(|read| read.record.value.id).collect())
        };
        let orders = ids(&topics.orders)?;
        let sales = ids(&topics.sales)?;
        let next = orders.iter().chain(&sales).max().map_or(0, |last| last + 1);
        let mut generator = Self { topics: topics.clone(), writer: client.writer()?, next };
        for id in 0..next {
            generator.write(id, !orders.contains(&id), !sales.contains(&id))?;
        }
        generator.writer.flush()?;
        Ok(generator)
    }

    pub fn place(&mut self, count: u64) -> Result {
        for id in self.next..self.next + count {
            self.write(id, true, true)?;
        }
        self.next += count;
        Ok(self.writer.flush()?)
    }

    fn write(&mut self, id: u64, as_order: bool, as_sale: bool) -> Result {
        let order = orders::order(id);
        let at = orders::placed_at(id);
        if as_order {
            self.writer.send(&self.topics.orders, &order.customer, &order, at)?;
        }
        if as_sale {
            self.writer.send(&self.topics.sales, &order.category, &order, at)?;
        }
        Ok(())
    }
}

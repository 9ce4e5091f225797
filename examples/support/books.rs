//! Compares the shop's expected output with its actual output.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Result;
use super::orders::{self, Sales, Shipment, euros};
use super::shop::{GRACE, MINUTE, MinuteKey, PARTITIONS, ShopTopics, minute_key};
use headwater::client::{ReadRecord, TopicReader};
use headwater::prelude::*;
use headwater::topics::partition_for;

/// The expected output after `orders` orders.
#[derive(Debug, Default, PartialEq)]
pub struct Books {
    pub shipments: BTreeSet<u64>,
    pub counts: BTreeMap<String, u64>,
    pub minutes: BTreeMap<MinuteKey, Sales>,
}

impl Books {
    pub fn of(orders: u64) -> Self {
        let mut books = Self::default();
        let mut minutes: BTreeMap<(i64, String), Sales> = BTreeMap::new();
        let mut latest: BTreeMap<i32, i64> = BTreeMap::new();
        let partition = |category: &str| partition_for(category.as_bytes(), PARTITIONS);
        for (order, at) in (0..orders).map(|id| (orders::order(id), orders::placed_at(id))) {
            if order.paid {
                books.shipments.insert(order.id);
            }
            *books.counts.entry(order.customer.clone()).or_default() += 1;
            let seen = latest.entry(partition(&order.category)).or_default();
            *seen = at.max(*seen);
            let minute = minutes.entry((at - at % MINUTE, order.category.clone())).or_default();
            minute.add(&String::new(), order);
        }
        // A minute is complete when its partition has seen a sale after its end and grace.
        for ((start, category), sales) in minutes {
            if start + MINUTE + GRACE <= latest[&partition(&category)] {
                books.minutes.insert(minute_key(start, &category), sales);
            }
        }
        books
    }
}

/// The output so far. Each record is read once, so a second shipment of an order is noticed.
pub struct Outputs {
    shipments: TopicReader<String, Shipment>,
    counts: TopicReader<String, u64>,
    per_minute: TopicReader<String, Sales>,
    pub books: Books,
    pub twice: Vec<String>,
    pub latest: String,
}

impl Outputs {
    pub fn new(client: &Client, topics: &ShopTopics) -> Result<Self> {
        Ok(Self {
            shipments: client.reader(&topics.shipments)?,
            counts: client.reader(&topics.counts)?,
            per_minute: client.reader(&topics.per_minute)?,
            books: Books::default(),
            twice: Vec::new(),
            latest: String::new(),
        })
    }

    pub fn read(&mut self) -> Result {
        while let Some(ReadRecord { record, .. }) = self.shipments.next(Duration::ZERO)? {
            if !self.books.shipments.insert(record.value.order) {
                self.twice.push(format!("shipment of order {}", record.value.order));
            }
        }
        while let Some(ReadRecord { record: Record { key, value, .. }, .. }) =
            self.counts.next(Duration::ZERO)?
        {
            if self.books.counts.insert(key.clone(), value).unwrap_or(0) + 1 != value {
                self.twice.push(format!("count {value} of {key}"));
            }
        }
        while let Some(ReadRecord { record: Record { key, value, .. }, .. }) =
            self.per_minute.next(Duration::ZERO)?
        {
            self.latest = format!("{key}: {} sales, {}", value.count, euros(value.cents));
            if self.books.minutes.insert(key.clone(), value).is_some() {
                self.twice.push(format!("minute {key}"));
            }
        }
        Ok(())
    }
}

/// Compares the actual with the expected output, and prints the result.
pub fn audit(expected: &Books, found: &Books, twice: &[String]) -> Result {
    println!("\n{:>10} {:>7}", "customer", "orders");
    for (customer, count) in &found.counts {
        println!("{customer:>10} {count:>7}");
    }
    let orders: u64 = expected.counts.values().sum();
    let revenue: u64 = found.minutes.values().map(|sales| sales.cents).sum();
    println!(
        "\n{orders} orders, {} shipments, {} customers, {} complete minutes worth {}",
        found.shipments.len(),
        found.counts.len(),
        found.minutes.len(),
        orders::euros(revenue),
    );
    if twice.is_empty() && found == expected {
        println!("The books agree with the generator: nothing lost, nothing twice.");
        return Ok(());
    }
    let missing = expected.shipments.difference(&found.shipments).count();
    Err(format!("the books are wrong: {missing} shipments missing, twice: {twice:?}").into())
}

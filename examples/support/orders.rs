//! Generated orders and sales: the same number always gives the same order.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Result;
use headwater::prelude::*;

/// 2026-01-01T09:00:00Z, in milliseconds.
pub const OPENING: i64 = 1_767_258_000_000;

/// Between one order and the next.
pub const STEP_MS: i64 = 500;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    pub customer: String,
    pub category: String,
    pub cents: u64,
    pub paid: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shipment {
    pub order: u64,
    pub customer: String,
    pub status: String,
}

impl From<Order> for Shipment {
    fn from(order: Order) -> Self {
        Self { order: order.id, customer: order.customer, status: "pending".to_owned() }
    }
}

/// Count and revenue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sales {
    pub count: u64,
    pub cents: u64,
}

impl Sales {
    pub fn add(&mut self, _: &String, order: Order) {
        self.count += 1;
        self.cents += order.cents;
    }
}

/// Euros for people.
pub fn euros(cents: u64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

/// Hours and minutes for people.
pub fn clock(millis: i64) -> String {
    let minutes = millis / 60_000;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

const CUSTOMERS: [&str; 8] = ["ada", "alan", "barbara", "edsger", "grace", "ken", "leslie", "tony"];
const CATEGORIES: [&str; 4] = ["books", "garden", "music", "toys"];

/// Order number `id`.
pub fn order(id: u64) -> Order {
    // Any mixing will do, as long as it is always the same.
    let mixed = (id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let pick = |shift: u32, among: usize| ((mixed >> shift) as usize) % among;
    Order {
        id,
        customer: CUSTOMERS[pick(20, CUSTOMERS.len())].to_owned(),
        category: CATEGORIES[pick(33, CATEGORIES.len())].to_owned(),
        cents: 100 + (mixed >> 40) % 9_900,
        paid: pick(12, 10) > 0,
    }
}

/// When order number `id` was placed.
pub fn placed_at(id: u64) -> i64 {
    OPENING + id as i64 * STEP_MS
}

/// Writes orders keyed by their customer, with their time.
pub fn write(client: &Client, topic: &Topic<String, Order>, ids: Range<u64>) -> Result {
    write_keyed(client, topic, ids, |order| &order.customer)
}

/// Writes orders under a key of your choice, with their time.
pub fn write_keyed(
    client: &Client,
    topic: &Topic<String, Order>,
    ids: Range<u64>,
    key: impl Fn(&Order) -> &String,
) -> Result {
    let mut writer = client.writer()?;
    for id in ids {
        let order = order(id);
        writer.send(topic, key(&order), &order, placed_at(id))?;
    }
    Ok(writer.flush()?)
}

//! J7's two topics: orders, and customers that come, change and go, as one sequence of events.
//!
//! Each event is a millisecond after the previous one. No two have the same timestamp, so the
//! customer of an order does not depend on how a program breaks ties.

use std::fmt::Write;

use super::{BEGIN_S, DataSet, Order, Orders};
use crate::Result;

const TIERS: [&str; 4] = ["bronze", "silver", "gold", "platinum"];
/// One in this many events changes a customer.
const CHANGE_EVERY: u64 = 3;
/// One in this many changes of a customer is a deletion.
const DELETED_EVERY: u32 = 10;

#[derive(Clone, Copy)]
pub(crate) enum InputEvent {
    Changed(CustomerChange),
    Ordered(Order, Option<u32>),
}

/// A new version of a customer.
#[derive(Clone, Copy)]
pub(crate) struct CustomerChange {
    pub(crate) customer: u32,
    pub(crate) version: u32,
    pub(crate) at_ms: i64,
}

impl DataSet {
    /// `records` events by timestamp. An order comes with the version that its customer has then,
    /// None if it is not there.
    pub(crate) fn events(&self) -> Events {
        Events { orders: self.orders(), versions: vec![0; self.customers as usize] }
    }
}

pub(crate) struct Events {
    orders: Orders,
    /// Of each customer, 0 before the first.
    versions: Vec<u32>,
}

impl Iterator for Events {
    type Item = InputEvent;

    fn next(&mut self) -> Option<InputEvent> {
        let mut order = self.orders.next()?;
        let number = u64::from(order.number);
        let customer = order.customer;
        let version = &mut self.versions[customer as usize];
        if number.is_multiple_of(CHANGE_EVERY) {
            *version += 1;
            let change = CustomerChange { customer, version: *version, at_ms: order.event_ms() };
            return Some(InputEvent::Changed(change));
        }
        order.at_s = BEGIN_S + number / 1_000;
        let is_there = *version > 0 && !is_deletion(*version);
        Some(InputEvent::Ordered(order, is_there.then_some(*version)))
    }
}

impl Order {
    /// Its timestamp as an event.
    pub(crate) fn event_ms(&self) -> i64 {
        BEGIN_S as i64 * 1_000 + i64::from(self.number)
    }
}

impl CustomerChange {
    pub(crate) fn key(&self) -> String {
        format!("cust-{}", self.customer)
    }

    /// None takes the customer away.
    pub(crate) fn json<'a>(&self, out: &'a mut String) -> Result<Option<&'a str>> {
        if is_deletion(self.version) {
            return Ok(None);
        }
        out.clear();
        write!(
            out,
            r#"{{"customer_id":"cust-{}","tier":"{}","version":{}}}"#,
            self.customer,
            tier(self.version),
            self.version,
        )?;
        Ok(Some(out))
    }
}

fn is_deletion(version: u32) -> bool {
    version.is_multiple_of(DELETED_EVERY)
}

pub(crate) fn tier(version: u32) -> &'static str {
    TIERS[version as usize % TIERS.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::data::{OrderKey, Spread};

    const DATA: DataSet = DataSet {
        records: 30_000,
        customers: 100,
        spread: Spread::Zipf,
        key: OrderKey::Customer,
        partitions: 4,
    };

    #[test]
    fn an_order_has_the_version_of_its_time() {
        let mut there = HashMap::new();
        let mut with = 0;
        let mut without = 0;
        for event in DATA.events() {
            match event {
                InputEvent::Changed(change) => {
                    let mut json = String::new();
                    let is_there = change.json(&mut json).expect("writes").is_some();
                    there.insert(change.customer, is_there.then_some(change.version));
                }
                InputEvent::Ordered(order, version) => {
                    assert_eq!(version, there.get(&order.customer).copied().flatten());
                    with += u32::from(version.is_some());
                    without += u32::from(version.is_none());
                }
            }
        }
        assert_eq!(with + without, 20_000);
        assert!(without > 1_000, "{without} orders without a customer");
        assert!(with > 10_000, "{with} orders with one");
    }

    #[test]
    fn no_two_events_have_one_timestamp() {
        let at_ms = |event| match event {
            InputEvent::Changed(change) => change.at_ms,
            InputEvent::Ordered(order, _) => order.event_ms(),
        };
        let times: Vec<i64> = DATA.events().map(at_ms).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

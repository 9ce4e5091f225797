//! J7: each order once, every field, with the version that its customer had at the order's time.

use serde::Deserialize;

use super::{Check, complaints, number_after};
use crate::data::customers::{InputEvent, tier};
use crate::data::{CATEGORIES, DataSet, Order, OrderKey};

#[derive(Deserialize)]
struct Enriched<'a> {
    order_id: &'a str,
    customer_id: &'a str,
    category: &'a str,
    amount: f64,
    tier: Option<&'a str>,
    version: Option<u32>,
}

struct Expected {
    order: Order,
    version: Option<u32>,
    seen: u32,
}

pub(super) struct Joined {
    /// By the number of the event; a change of a customer is None.
    orders: Vec<Option<Expected>>,
    absent: u64,
    other_version: u64,
    wrong: u64,
}

impl Joined {
    pub(super) fn new(data: &DataSet) -> Self {
        let expected = |event| match event {
            InputEvent::Changed(_) => None,
            InputEvent::Ordered(order, version) => Some(Expected { order, version, seen: 0 }),
        };
        let orders = data.events().map(expected).collect();
        Self { orders, absent: 0, other_version: 0, wrong: 0 }
    }

    /// The order that this is, if all is right but perhaps what it was joined with.
    fn expected(&mut self, key: &[u8], enriched: &Enriched<'_>) -> Option<&mut Expected> {
        let number = number_after("order-", enriched.order_id.as_bytes())?;
        let expected = self.orders.get_mut(number)?.as_mut()?;
        let order = &expected.order;
        let customer = expected.order.key(OrderKey::Customer);
        let right = key == customer.as_bytes()
            && enriched.customer_id == customer
            && enriched.category == CATEGORIES[usize::from(order.category)]
            && (enriched.amount * 100.0).round() as u32 == order.cents
            && enriched.tier == enriched.version.map(tier);
        right.then_some(expected)
    }
}

impl Check for Joined {
    fn see(&mut self, key: &[u8], value: &[u8]) {
        let enriched: Option<Enriched<'_>> = serde_json::from_slice(value).ok();
        let Some(enriched) = enriched else {
            self.wrong += 1;
            return;
        };
        let Some(expected) = self.expected(key, &enriched) else {
            self.wrong += 1;
            return;
        };
        expected.seen += 1;
        let is_right = expected.version == enriched.version;
        self.absent += u64::from(!is_right && enriched.version.is_none());
        self.other_version += u64::from(!is_right && enriched.version.is_some());
    }

    fn complaint(&self) -> String {
        let mut missing = 0;
        let mut twice = 0;
        for order in self.orders.iter().flatten() {
            missing += u64::from(order.seen == 0);
            twice += u64::from(order.seen.saturating_sub(1));
        }
        complaints(&[
            (missing, "orders missing"),
            (twice, "orders too many"),
            (self.absent, "orders without the customer that was there"),
            (self.other_version, "orders with a customer of another time"),
            (self.wrong, "wrong records"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Spread;

    const DATA: DataSet = DataSet {
        records: 9_000,
        customers: 20,
        spread: Spread::Zipf,
        key: OrderKey::Customer,
        partitions: 4,
    };

    fn record(order: &Order, version: Option<u32>) -> (String, String) {
        let customer = order.key(OrderKey::Customer);
        let tier = version.map_or("null".to_owned(), |version| format!(r#""{}""#, tier(version)));
        let version = version.map_or("null".to_owned(), |version| version.to_string());
        let value = format!(
            r#"{{"order_id":"order-{}","customer_id":"{customer}","category":"{}","amount":{},
            "tier":{tier},"version":{version}}}"#,
            order.number,
            CATEGORIES[usize::from(order.category)],
            f64::from(order.cents) / 100.0,
        );
        (customer, value)
    }

    fn right() -> Vec<(Order, Option<u32>)> {
        let order = |event| match event {
            InputEvent::Changed(_) => None,
            InputEvent::Ordered(order, version) => Some((order, version)),
        };
        DATA.events().filter_map(order).collect()
    }

    fn complaint(change: impl Fn(&mut Vec<(Order, Option<u32>)>)) -> String {
        let mut orders = right();
        change(&mut orders);
        let mut check = Joined::new(&DATA);
        for (order, version) in &orders {
            let (key, value) = record(order, *version);
            check.see(key.as_bytes(), value.as_bytes());
        }
        check.complaint()
    }

    /// The place of an order that has a customer.
    fn with_customer(orders: &[(Order, Option<u32>)]) -> usize {
        orders.iter().position(|(_, version)| version.is_some()).expect("one has a customer")
    }

    #[test]
    fn orders_with_the_customers_of_their_time_pass() {
        assert_eq!(complaint(|_| ()), "");
        assert_eq!(complaint(|orders| orders.reverse()), "");
    }

    #[test]
    fn missing_and_repeated_orders_do_not() {
        let missing = complaint(|orders| {
            orders.remove(7);
        });
        assert_eq!(missing, "1 orders missing");
        assert_eq!(complaint(|orders| orders.push(orders[7])), "1 orders too many");
    }

    #[test]
    fn a_customer_of_another_time_or_none_does_not() {
        let absent = complaint(|orders| {
            let at = with_customer(orders);
            orders[at].1 = None;
        });
        assert_eq!(absent, "1 orders without the customer that was there");
        let later = complaint(|orders| {
            let at = with_customer(orders);
            orders[at].1 = orders[at].1.map(|version| version + 1);
        });
        assert_eq!(later, "1 orders with a customer of another time");
        let made_up = complaint(|orders| {
            let at = orders.iter().position(|(_, version)| version.is_none()).expect("one");
            orders[at].1 = Some(1);
        });
        assert_eq!(made_up, "1 orders with a customer of another time");
    }

    #[test]
    fn another_amount_or_something_else_does_not() {
        let amount = complaint(|orders| orders[0].0.cents += 1);
        assert_eq!(amount, "1 orders missing, 1 wrong records");
        let mut check = Joined::new(&DATA);
        check.see(b"cust-1", b"{}");
        assert!(check.complaint().ends_with("1 wrong records"));
    }
}

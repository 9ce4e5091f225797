//! J1: every order from 1.00 up once, with every field.

use serde::Deserialize;

use super::{Check, complaints, number_after};
use crate::data::{DataSet, Order, OrderKey, SHIPPED_CENTS_MIN};

#[derive(Deserialize)]
struct Shipment<'a> {
    shipment_id: &'a str,
    order_id: &'a str,
    customer_id: &'a str,
    status: &'a str,
    created_at: &'a str,
}

pub(super) struct Shipments {
    orders: Vec<Order>,
    seen: Vec<u32>,
    wrong: u64,
}

impl Shipments {
    pub(super) fn new(data: &DataSet) -> Self {
        let orders: Vec<Order> = data.orders().collect();
        let seen = vec![0; orders.len()];
        Self { orders, seen, wrong: 0 }
    }

    /// The order that was shipped, if all is right with the shipment.
    fn order(&self, key: &[u8], value: &[u8]) -> Option<usize> {
        let shipment: Shipment<'_> = serde_json::from_slice(value).ok()?;
        let number = number_after("order-", shipment.order_id.as_bytes())?;
        let order = self.orders.get(number)?;
        let customer = order.key(OrderKey::Customer);
        let right = key == customer.as_bytes()
            && shipment.customer_id == customer
            && shipment.shipment_id.strip_prefix("ship-") == Some(shipment.order_id)
            && shipment.status == "pending"
            && shipment.created_at == order.timestamp()
            && order.cents >= SHIPPED_CENTS_MIN;
        right.then_some(number)
    }
}

impl Check for Shipments {
    fn see(&mut self, key: &[u8], value: &[u8]) {
        match self.order(key, value) {
            Some(number) => self.seen[number] += 1,
            None => self.wrong += 1,
        }
    }

    fn complaint(&self) -> String {
        let shipped = self.orders.iter().zip(&self.seen);
        let missing =
            shipped.filter(|(order, seen)| order.cents >= SHIPPED_CENTS_MIN && **seen == 0).count();
        let twice = self.seen.iter().map(|seen| u64::from(seen.saturating_sub(1))).sum();
        complaints(&[
            (missing as u64, "shipments missing"),
            (twice, "shipments too many"),
            (self.wrong, "wrong records"),
        ])
    }
}

/// Which order a shipment is for.
pub(crate) fn order_number(value: &[u8]) -> Option<usize> {
    let shipment: Shipment<'_> = serde_json::from_slice(value).ok()?;
    number_after("order-", shipment.order_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Spread;

    const DATA: DataSet = DataSet {
        records: 5_000,
        customers: 10,
        spread: Spread::Zipf,
        key: OrderKey::Customer,
        partitions: 4,
    };

    fn right() -> Vec<(String, String)> {
        let shipped = DATA.orders().filter(|order| order.cents >= SHIPPED_CENTS_MIN);
        shipped
            .map(|order| {
                let customer = order.key(OrderKey::Customer);
                let number = order.number;
                let value = format!(
                    r#"{{"shipment_id":"ship-order-{number}","order_id":"order-{number}",
                    "customer_id":"{customer}","status":"pending","created_at":"{}"}}"#,
                    order.timestamp()
                );
                (customer, value)
            })
            .collect()
    }

    fn complaint(records: &[(String, String)]) -> String {
        let mut check = Shipments::new(&DATA);
        records.iter().for_each(|(key, value)| check.see(key.as_bytes(), value.as_bytes()));
        check.complaint()
    }

    #[test]
    fn the_right_shipments_pass() {
        assert_eq!(complaint(&right()), "");
    }

    #[test]
    fn missing_repeated_and_changed_shipments_do_not() {
        let mut records = right();
        let taken = records.remove(7);
        assert_eq!(complaint(&records), "1 shipments missing");
        records.extend([taken.clone(), taken]);
        assert_eq!(complaint(&records), "1 shipments too many");
        let mut records = right();
        records[3].1 = records[3].1.replace("pending", "sent");
        assert_eq!(complaint(&records), "1 shipments missing, 1 wrong records");
        let mut records = right();
        records[3].0.push('0');
        assert_eq!(complaint(&records), "1 shipments missing, 1 wrong records");
    }

    #[test]
    fn an_order_that_is_too_small_may_not_be_shipped() {
        let small = DATA.orders().find(|order| order.cents < SHIPPED_CENTS_MIN).expect("one");
        let mut records = right();
        let shipped = records[0].1.clone();
        let first = DATA.orders().next().expect("one");
        let shipped = shipped
            .replace("order-0\"", &format!("order-{}\"", small.number))
            .replace(&first.key(OrderKey::Customer), &small.key(OrderKey::Customer))
            .replace(&first.timestamp(), &small.timestamp());
        records.push((small.key(OrderKey::Customer), shipped));
        assert_eq!(complaint(&records), "1 wrong records");
    }
}

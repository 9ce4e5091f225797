//! J2 and J4: the last value of each customer is how many orders there are, and no value is less
//! than one before it.

use super::{Check, complaints, number_after};
use crate::data::DataSet;

pub(super) struct Counts {
    expected: Vec<u64>,
    last: Vec<u64>,
    unreadable: u64,
    backward: u64,
}

impl Counts {
    pub(super) fn new(data: &DataSet) -> Self {
        let expected = data.orders_by_customer();
        let last = vec![0; expected.len()];
        Self { expected, last, unreadable: 0, backward: 0 }
    }
}

impl Check for Counts {
    fn see(&mut self, key: &[u8], value: &[u8]) {
        let customer = number_after("cust-", key).filter(|customer| *customer < self.last.len());
        let (Some(customer), Some(count)) = (customer, number_after("", value)) else {
            self.unreadable += 1;
            return;
        };
        let count = count as u64;
        self.backward += u64::from(count <= self.last[customer]);
        self.last[customer] = count;
    }

    fn complaint(&self) -> String {
        let both = self.expected.iter().zip(&self.last);
        let wrong = both.filter(|(expected, last)| expected != last).count();
        complaints(&[
            (wrong as u64, "customers with a wrong last count"),
            (self.unreadable, "records that cannot be read"),
            (self.backward, "counts that do not grow"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OrderKey, Spread};

    fn complaint(change: impl Fn(&mut Vec<(String, u64)>)) -> String {
        let data = DataSet {
            records: 1_000,
            customers: 10,
            spread: Spread::Zipf,
            key: OrderKey::Customer,
            partitions: 4,
        };
        let mut counts = [0; 10];
        let mut records: Vec<(String, u64)> = data
            .orders()
            .map(|order| {
                counts[order.customer as usize] += 1;
                (order.key(OrderKey::Customer), counts[order.customer as usize])
            })
            .collect();
        change(&mut records);
        let mut check = Counts::new(&data);
        for (key, count) in records {
            check.see(key.as_bytes(), count.to_string().as_bytes());
        }
        check.complaint()
    }

    #[test]
    fn every_count_and_the_last_alone_pass() {
        assert_eq!(complaint(|_| ()), "");
        let last_only = |records: &mut Vec<(String, u64)>| {
            let all = records.clone();
            records.retain(|(key, count)| {
                all.iter().filter(|(other, _)| other == key).all(|(_, other)| other <= count)
            });
            assert_eq!(records.len(), 10);
        };
        assert_eq!(complaint(last_only), "");
    }

    #[test]
    fn a_lost_last_count_and_one_too_many_do_not() {
        let lost = complaint(|records| drop(records.pop()));
        assert_eq!(lost, "1 customers with a wrong last count");
        let over = complaint(|records| records.push(("cust-9".to_owned(), 1_000)));
        assert_eq!(over, "1 customers with a wrong last count");
    }

    #[test]
    fn a_count_that_comes_twice_does_not() {
        let twice = complaint(|records| records.push(records[records.len() - 1].clone()));
        assert_eq!(twice, "1 counts that do not grow");
    }

    #[test]
    fn a_key_of_nobody_does_not() {
        let nobody = complaint(|records| records.push(("cust-10".to_owned(), 1)));
        assert_eq!(nobody, "1 records that cannot be read");
    }
}

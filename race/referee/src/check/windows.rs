//! J3: each window that is closed once, with its count and its revenue to the cent; no other.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Check, complaints};
use crate::data::{CATEGORIES, DataSet, Order, partition};

const SIZE_MS: i64 = 60_000;
const GRACE_MS: i64 = 10_000;

#[derive(Deserialize)]
struct Sales<'a> {
    category: &'a str,
    window_start: i64,
    window_end: i64,
    count: u64,
    revenue: f64,
}

/// Category and start.
type Window = (u8, i64);

#[derive(Default)]
struct Total {
    count: u64,
    cents: u64,
    seen: u64,
}

pub(super) struct WindowTotals {
    totals: HashMap<Window, Total>,
    partitions: u32,
    /// The highest timestamp of each partition: its stream time.
    highest: HashMap<i32, i64>,
    wrong: u64,
}

impl WindowTotals {
    pub(super) fn new(data: &DataSet) -> Self {
        let partitions = data.partitions;
        let totals = HashMap::new();
        let highest = HashMap::new();
        let mut windows = Self { totals, partitions, highest, wrong: 0 };
        data.orders().for_each(|order| windows.expect(&order));
        windows
    }

    fn expect(&mut self, order: &Order) {
        let at = order.at_ms();
        let window = (order.category, at - at.rem_euclid(SIZE_MS));
        let total = self.totals.entry(window).or_default();
        total.count += 1;
        total.cents += u64::from(order.cents);
        let highest = self.highest.entry(self.partition_of(order.category)).or_default();
        *highest = at.max(*highest);
    }

    fn total(&mut self, key: &[u8], value: &[u8]) -> Option<&mut Total> {
        let sales: Sales<'_> = serde_json::from_slice(value).ok()?;
        let category = CATEGORIES.iter().position(|category| *category == sales.category)?;
        let total = self.totals.get_mut(&(category as u8, sales.window_start))?;
        let right = key == sales.category.as_bytes()
            && sales.window_end == sales.window_start + SIZE_MS
            && sales.count == total.count
            && (sales.revenue * 100.0).round() as u64 == total.cents;
        right.then_some(total)
    }

    fn is_closed(&self, window: Window) -> bool {
        let (category, start) = window;
        self.highest
            .get(&self.partition_of(category))
            .is_some_and(|highest| start + SIZE_MS + GRACE_MS <= *highest)
    }

    fn partition_of(&self, category: u8) -> i32 {
        partition(CATEGORIES[usize::from(category)].as_bytes(), self.partitions)
    }
}

impl Check for WindowTotals {
    fn see(&mut self, key: &[u8], value: &[u8]) {
        match self.total(key, value) {
            Some(total) => total.seen += 1,
            None => self.wrong += 1,
        }
    }

    fn complaint(&self) -> String {
        let mut missing = 0;
        let mut twice = 0;
        let mut early = 0;
        for (window, total) in &self.totals {
            let closed = self.is_closed(*window);
            missing += u64::from(closed && total.seen == 0);
            early += u64::from(!closed && total.seen > 0);
            twice += total.seen.saturating_sub(1);
        }
        complaints(&[
            (missing, "windows missing"),
            (twice, "windows too many"),
            (early, "windows that are not closed"),
            (self.wrong, "wrong records"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OrderKey, Spread};

    const DATA: DataSet = DataSet {
        records: 20_000,
        customers: 10,
        spread: Spread::Zipf,
        key: OrderKey::Category,
        partitions: 4,
    };

    fn record(window: Window, total: &Total, revenue_more: f64) -> (String, String) {
        let category = CATEGORIES[usize::from(window.0)];
        let start = window.1;
        let end = window.1 + SIZE_MS;
        let revenue = total.cents as f64 / 100.0 + revenue_more;
        let value = format!(
            r#"{{"category":"{category}","window_start":{start},"window_end":{end},
            "count":{},"revenue":{revenue}}}"#,
            total.count
        );
        (category.to_owned(), value)
    }

    fn complaint(change: impl Fn(&WindowTotals, &mut Vec<(String, String)>)) -> String {
        let mut check = WindowTotals::new(&DATA);
        let closed = check.totals.iter().filter(|(window, _)| check.is_closed(**window));
        let mut records = closed.map(|(window, total)| record(*window, total, 0.0)).collect();
        change(&check, &mut records);
        records.iter().for_each(|(key, value)| check.see(key.as_bytes(), value.as_bytes()));
        check.complaint()
    }

    #[test]
    fn all_closed_windows_once_pass() {
        assert_eq!(complaint(|_, records| assert!(records.len() > 2_000)), "");
    }

    #[test]
    fn missing_and_repeated_windows_do_not() {
        assert_eq!(complaint(|_, records| drop(records.pop())), "1 windows missing");
        let twice = complaint(|_, records| records.push(records[0].clone()));
        assert_eq!(twice, "1 windows too many");
    }

    #[test]
    fn a_window_that_is_still_open_does_not() {
        let early = complaint(|check, records| {
            let open = check.totals.iter().find(|(window, _)| !check.is_closed(**window));
            let (window, total) = open.expect("the last windows are open");
            records.push(record(*window, total, 0.0));
        });
        assert_eq!(early, "1 windows that are not closed");
    }

    #[test]
    fn a_revenue_that_is_a_cent_off_does_not() {
        let off = complaint(|check, records| {
            let first = check.totals.iter().find(|(window, _)| check.is_closed(**window));
            let (window, total) = first.expect("some are closed");
            let right = record(*window, total, 0.0);
            records.retain(|record| *record != right);
            records.push(record(*window, total, 0.01));
        });
        assert_eq!(off, "1 windows missing, 1 wrong records");
    }
}

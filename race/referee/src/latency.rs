//! Orders at a steady rate. A latency counts from when the order was due, not from when it was
//! sent, to when its answer is there for a read_committed reader: a program that stands still gets
//! no rest from it.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Message};

use crate::Result;
use crate::check::{number_after, order_number};
use crate::cluster::{Feeder, RaceCluster};
use crate::data::{BEGIN_S, Order, OrderKey};
use crate::job::Work;
use crate::run::Figures;

const RATE: u32 = 2_000;
const WARM_S: u32 = 10;
const MEASURED_S: u32 = 30;
const TOTAL: u32 = RATE * (WARM_S + MEASURED_S);
/// The orders go round the customers.
const CUSTOMERS: u32 = 50_000;
/// Whose order tells that the program is there.
const FIRST_CUSTOMER: u32 = 99_999;
const THERE_WITHIN: Duration = Duration::from_secs(90);
const LATE_MAX: Duration = Duration::from_secs(15);

fn order(number: u32, customer: u32) -> Order {
    Order { number, customer, category: 0, cents: 500, at_s: BEGIN_S }
}

pub(crate) fn measure(
    cluster: &RaceCluster,
    work: Work,
    input: &str,
    output: &str,
) -> Result<Figures> {
    let settings = [("isolation.level", "read_committed"), ("fetch.wait.max.ms", "100")];
    let reader = cluster.reader(output, |_| Offset::Beginning, &settings)?;
    let mut feeder = cluster.feeder(&[("linger.ms", "0")])?;
    let first = order(0, FIRST_CUSTOMER);
    feeder.send(input, &first, &first.key(OrderKey::Customer), None)?;
    feeder.flush()?;
    reader.poll(THERE_WITHIN).ok_or_else(|| format!("no answer in {THERE_WITHIN:?}"))??;

    let began = Instant::now();
    let sender = send_all(feeder, input.to_owned(), began);
    let mut answers = Answers::default();
    let limit = Duration::from_secs(u64::from(WARM_S + MEASURED_S)) + LATE_MAX;
    while answers.number < TOTAL && began.elapsed() < limit {
        let Some(record) = reader.poll(Duration::from_millis(50)) else { continue };
        answers.add(number(work, &record?), began.elapsed());
    }
    let late = sender.join().map_err(|_| "the sender panicked")??;
    answers.figures(late)
}

/// Sends all orders when they are due, and returns by how much the latest was late.
fn send_all(mut feeder: Feeder, input: String, began: Instant) -> JoinHandle<Result<Duration>> {
    std::thread::spawn(move || {
        let mut latest = Duration::ZERO;
        for number in 1..=TOTAL {
            let due = due(number);
            while let Some(wait) = due.checked_sub(began.elapsed()) {
                std::thread::sleep(wait.min(Duration::from_millis(1)));
            }
            latest = latest.max(began.elapsed().saturating_sub(due));
            let order = order(number, number % CUSTOMERS);
            feeder.send(&input, &order, &order.key(OrderKey::Customer), None)?;
            feeder.serve_reports();
        }
        feeder.flush()?;
        Ok(latest)
    })
}

fn due(number: u32) -> Duration {
    Duration::from_secs(1) * (number - 1) / RATE
}

/// Which order was answered.
fn number(work: Work, record: &BorrowedMessage<'_>) -> Option<u32> {
    if work == Work::Shipments {
        return u32::try_from(order_number(record.payload()?)?).ok();
    }
    let customer = number_after("cust-", record.key()?)? as u32;
    let count = number_after("", record.payload()?)? as u32;
    counted_order(customer, count)
}

/// A customer's orders come in turn, so the count names the order.
fn counted_order(customer: u32, count: u32) -> Option<u32> {
    let rounds = if customer == 0 { count } else { count.checked_sub(1)? };
    rounds.checked_mul(CUSTOMERS)?.checked_add(customer)
}

struct Answers {
    seen: Vec<bool>,
    number: u32,
    unasked: u32,
    latencies_ms: Vec<f64>,
}

impl Default for Answers {
    fn default() -> Self {
        let seen = vec![false; TOTAL as usize + 1];
        Self { seen, number: 0, unasked: 0, latencies_ms: Vec::new() }
    }
}

impl Answers {
    fn add(&mut self, number: Option<u32>, at: Duration) {
        let number = number.filter(|number| (1..=TOTAL).contains(number));
        let Some(number) = number.filter(|number| !self.seen[*number as usize]) else {
            self.unasked += 1;
            return;
        };
        self.seen[number as usize] = true;
        self.number += 1;
        if due(number).as_secs() >= u64::from(WARM_S) {
            self.latencies_ms.push(at.saturating_sub(due(number)).as_secs_f64() * 1e3);
        }
    }

    fn figures(mut self, late: Duration) -> Result<Figures> {
        if self.number < TOTAL || self.unasked > 0 {
            let number = self.number;
            let unasked = self.unasked;
            return Err(format!("{number} of {TOTAL} answered, {unasked} unasked answers").into());
        }
        self.latencies_ms.sort_by(f64::total_cmp);
        let last = (self.latencies_ms.len() - 1) as f64;
        let at = |share: f64| self.latencies_ms[(last * share) as usize];
        Ok(Figures::from([
            ("p50_ms", at(0.5)),
            ("p90_ms", at(0.9)),
            ("p99_ms", at(0.99)),
            ("max_ms", at(1.0)),
            ("sent_late_ms", late.as_secs_f64() * 1e3),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_names_its_order() {
        let mut counts = vec![0; CUSTOMERS as usize];
        for number in 1..=TOTAL {
            let customer = number % CUSTOMERS;
            counts[customer as usize] += 1;
            assert_eq!(counted_order(customer, counts[customer as usize]), Some(number));
        }
    }

    fn all() -> Answers {
        let mut answers = Answers::default();
        (1..=TOTAL).for_each(|number| {
            answers.add(Some(number), due(number) + Duration::from_millis(7));
        });
        answers
    }

    #[test]
    fn a_latency_counts_from_when_the_order_was_due() {
        let figures = all().figures(Duration::ZERO).expect("all are answered");
        assert!((figures["p50_ms"] - 7.0).abs() < 1e-6, "{figures:?}");
        assert!((figures["max_ms"] - 7.0).abs() < 1e-6, "{figures:?}");
    }

    #[test]
    fn an_answer_too_few_or_twice_is_no_result() {
        let mut twice = all();
        twice.add(Some(5), Duration::ZERO);
        assert!(twice.figures(Duration::ZERO).is_err());
        let mut few = Answers::default();
        (2..=TOTAL).for_each(|number| few.add(Some(number), due(number)));
        assert!(few.figures(Duration::ZERO).is_err());
    }
}

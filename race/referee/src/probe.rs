//! After a count: one more record for each partition, and how long the program, which is started
//! again, takes to answer all of them with the right number.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;

use crate::Result;
use crate::cluster::{RaceCluster, end_of};
use crate::data::{BEGIN_S, DataSet, Order, OrderKey, SPAN_S, partition};
use crate::process::PeerProgram;
use crate::run::Figures;

const ANSWERED_WITHIN: Duration = Duration::from_secs(300);

pub(crate) struct Probe {
    reader: BaseConsumer,
    /// OrderKey, and the count that must come.
    expected: HashMap<String, u64>,
    keys: usize,
}

impl Probe {
    /// Sends the records. The program must not be running.
    pub(crate) fn send(
        cluster: &RaceCluster,
        input: &str,
        output: &str,
        data: &DataSet,
    ) -> Result<Self> {
        let client = cluster.client("referee", "read_committed")?;
        let ends = cluster
            .all_partitions()
            .map(|partition| end_of(&client, output, partition))
            .collect::<Result<Vec<i64>>>()?;
        let settings = [("isolation.level", "read_committed"), ("fetch.wait.max.ms", "20")];
        let from = |partition: i32| Offset::Offset(ends[partition as usize]);
        let reader = cluster.reader(output, from, &settings)?;

        let counts = data.orders_by_customer();
        let mut feeder = cluster.feeder(&[])?;
        let mut expected = HashMap::new();
        for wanted in cluster.all_partitions() {
            let (order, count) = customers(&counts)
                .find(|(order, _)| in_partition(order, data.partitions) == wanted)
                .ok_or("a partition has no customer")?;
            let key = order.key(OrderKey::Customer);
            feeder.send(input, &order, &key, Some(order.at_ms()))?;
            expected.insert(key, count + 1);
        }
        feeder.flush()?;
        Ok(Self { reader, expected, keys: customers(&counts).count() })
    }

    /// Waits for the answers of a program that was started at `began`.
    pub(crate) fn answers(mut self, app: &mut PeerProgram, began: Instant) -> Result<Figures> {
        let mut figures = Figures::from([("keys", self.keys as f64)]);
        while !self.expected.is_empty() {
            if began.elapsed() > ANSWERED_WITHIN {
                return Err(format!("not all answers in {ANSWERED_WITHIN:?}").into());
            }
            if app.has_ended()? {
                return Err("it ended by itself".into());
            }
            let Some(record) = self.reader.poll(Duration::from_millis(100)) else { continue };
            let record = record?;
            let key = String::from_utf8_lossy(record.key().unwrap_or(b"")).into_owned();
            let count = String::from_utf8_lossy(record.payload().unwrap_or(b"")).into_owned();
            let expected = self.expected.remove(&key).map(|count| count.to_string());
            if expected.as_ref() != Some(&count) {
                return Err(format!("{key}: {count}, expected {expected:?}").into());
            }
            let seconds = began.elapsed().as_secs_f64();
            figures.entry("first_answer_s").or_insert(seconds);
            figures.insert("all_answers_s", seconds);
        }
        Ok(figures)
    }
}

fn in_partition(order: &Order, partitions: u32) -> i32 {
    partition(order.key(OrderKey::Customer).as_bytes(), partitions)
}

/// One more order for each customer that has some, and how many those are.
fn customers(counts: &[u64]) -> impl Iterator<Item = (Order, u64)> {
    let order = |customer: usize| Order {
        number: 0,
        customer: customer as u32,
        category: 0,
        cents: 500,
        at_s: BEGIN_S + SPAN_S,
    };
    let all = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    all.map(move |(customer, count)| (order(customer), *count))
}

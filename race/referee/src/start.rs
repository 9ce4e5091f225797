//! From the start of a process to its first output, uncommitted included, and how long of that the
//! group took to join, as the broker tells it.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::BaseConsumer;

use crate::Result;
use crate::cluster::{ConsumerGroup, RaceCluster, group};
use crate::data::{BEGIN_S, Order, OrderKey, partition};
use crate::process::{PeerProgram, cpu_seconds};

const STARTED_WITHIN: Duration = Duration::from_secs(90);
const QUIET: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);

pub(crate) struct Starts<'a> {
    cluster: &'a RaceCluster,
    group_id: &'a str,
    input: &'a str,
    /// Asks for the group; a new one would first sleep until it has a connection.
    asker: BaseConsumer,
    reader: BaseConsumer,
    /// Sent so far, of which `seen` have been answered.
    sent: u32,
    seen: u32,
}

#[derive(Clone, Copy)]
pub(crate) struct Started {
    pub(crate) first: Duration,
    pub(crate) joining: Duration,
}

impl<'a> Starts<'a> {
    pub(crate) fn new(
        cluster: &'a RaceCluster,
        group_id: &'a str,
        input: &'a str,
        output: &str,
    ) -> Result<Self> {
        let settings = [("isolation.level", "read_uncommitted"), ("fetch.wait.max.ms", "5")];
        let reader = cluster.reader(output, |_| Offset::Beginning, &settings)?;
        let asker = cluster.client(group_id, "read_uncommitted")?;
        group(&asker, group_id)?;
        Ok(Self { cluster, group_id, input, asker, reader, sent: 0, seen: 0 })
    }

    /// One order for each partition.
    pub(crate) fn feed(&mut self) -> Result<()> {
        let mut feeder = self.cluster.feeder(&[])?;
        for wanted in self.cluster.all_partitions() {
            let order = |customer| Order {
                number: self.sent,
                customer,
                category: 0,
                cents: 500,
                at_s: BEGIN_S,
            };
            let partitions = self.cluster.partitions;
            let in_wanted = |order: &Order| {
                partition(order.key(OrderKey::Customer).as_bytes(), partitions) == wanted
            };
            let found = (0..u32::MAX).map(order).find(in_wanted);
            let order = found.ok_or("a partition has no customer")?;
            feeder.send(self.input, &order, &order.key(OrderKey::Customer), None)?;
            self.sent += 1;
        }
        feeder.flush()
    }

    /// Waits until all is answered by a program that was started at `began`.
    pub(crate) fn started(&mut self, app: &mut PeerProgram, began: Instant) -> Result<Started> {
        let mut first = None;
        let mut joining = None;
        let mut joined = None;
        while self.seen < self.sent {
            if began.elapsed() > STARTED_WITHIN {
                return Err(format!("not all answers in {STARTED_WITHIN:?}").into());
            }
            if app.has_ended()? {
                return Err("it ended by itself".into());
            }
            if joined.is_none() {
                let state = group(&self.asker, self.group_id)?;
                if state != ConsumerGroup::Empty {
                    joining.get_or_insert(began.elapsed());
                }
                joined = (state == ConsumerGroup::Stable).then(|| began.elapsed());
            }
            if let Some(record) = self.reader.poll(Duration::from_millis(1)) {
                record?;
                first.get_or_insert(began.elapsed());
                self.seen += 1;
            }
        }
        let first = first.ok_or("nothing was sent")?;
        // An output that was seen before the join was: as if there had been none.
        let joined = joined.filter(|joined| *joined < first);
        let joining = joined.zip(joining).map_or(Duration::ZERO, |(end, start)| end - start);
        Ok(Started { first, joining })
    }
}

/// The share of one processor, in percent, that a program takes which has nothing to do.
pub(crate) fn idle_percent(app: &PeerProgram) -> f64 {
    std::thread::sleep(QUIET);
    let before = cpu_seconds(app.pid());
    let began = Instant::now();
    std::thread::sleep(IDLE);
    (cpu_seconds(app.pid()) - before) / began.elapsed().as_secs_f64() * 100.0
}

//! Agents that await only their records.

use streams_core::agent::{AgentResult, Context, Records as Asked};
use streams_core::{Builder, Record, Table, Topic, Topology};
use testkit::Dice;

use crate::driver::Driver;
use crate::tables::clicks_of;
use crate::workload::{Workload, WorkloadKind};

const RECORDS: usize = 4_000;
const KEYS: usize = 100;

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = RECORDS as u64;
    vec![
        WorkloadKind::counted("agents/send", N, || fed(sending())),
        WorkloadKind::counted("agents/count", N, || fed(counting())),
    ]
}

fn out() -> Topic<u64, u64> {
    Topic::new("out")
}

fn counts() -> Table<u64, u64> {
    Table::new("counts")
}

/// Sends each record on.
fn sending() -> Topology {
    async fn send(mut clicks: Asked<u64, u64>, cx: Context, out: Topic<u64, u64>) -> AgentResult {
        while let Some(Record { key, value, .. }) = clicks.next().await {
            cx.send(&out, key, value)?;
        }
        Ok(())
    }
    let app = Builder::new("agents");
    let agent = app.agent("send", &Topic::new("clicks")).sends(&out());
    agent.run(|clicks, cx| send(clicks, cx, out()));
    app.build().expect("a topology")
}

/// Counts in a table, and sends each count.
fn counting() -> Topology {
    async fn count(
        mut clicks: Asked<u64, u64>,
        cx: Context,
        counts: Table<u64, u64>,
        out: Topic<u64, u64>,
    ) -> AgentResult {
        while let Some(Record { key, .. }) = clicks.next().await {
            let count = cx.table(&counts).update(&key, |count| *count += 1)?;
            cx.send(&out, key, count)?;
        }
        Ok(())
    }
    let app = Builder::new("agents");
    let agent = app.agent("count", &Topic::new("clicks")).writes(&counts()).sends(&out());
    agent.run(|clicks, cx| count(clicks, cx, counts(), out()));
    app.build().expect("a topology")
}

fn fed(topology: Topology) -> Box<dyn Workload> {
    let mut task = Driver::new(topology);
    let mut dice = Dice::new(1);
    let mut clicks = || clicks_of((0..RECORDS).map(|_| dice.below(KEYS) as u64));
    let rounds: Vec<_> = (0..16).map(|_| clicks()).collect();
    let mut round = 0;
    task.feed(0, &clicks_of(0..KEYS as u64), 0);
    task.run();
    task.commit();
    Box::new(move || {
        task.feed(0, &rounds[round % rounds.len()], 0);
        task.run();
        task.commit();
        round += 1;
    })
}

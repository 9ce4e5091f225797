//! Several futures of one agent write a table that all of them read. The table and the outputs
//! equal those of one future that processes the records in order, regardless of waits, failures and
//! restarts.

#![allow(unreachable_pub, reason = "a module of a test program")]

mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_streams_core::agent::{AgentError, AgentResult, Context, Records};
use headwater_streams_core::{
    Builder, Effects, ErrorPolicy, InputOffset, OwnedBatch, OwnedRecord, Record, Resume, Store,
    StoreProvider, Table, Task, TaskId, Topic, Topology,
};
use headwater_testkit::Dice;
use headwater_testkit::faults::SurvivingStores;
use service::Service;

const TOTAL: &str = "~total";

/// The shape of an application, chosen by the seed.
#[derive(Clone, Copy, Debug)]
struct Shape {
    agents: usize,
    ttl_ms: Option<i64>,
    is_batched: bool,
    on_stream: bool,
}

impl Shape {
    fn of(dice: &mut Dice) -> Self {
        let ttl_ms = (dice.below(3) == 0).then(|| 3 + dice.below(20) as i64);
        Self {
            agents: 2 + dice.below(4),
            ttl_ms,
            // A batch reads and writes at the time of its last record, which is random.
            is_batched: ttl_ms.is_none() && dice.below(2) == 0,
            on_stream: dice.below(3) == 0,
        }
    }

    fn table(self) -> Table<String, i64> {
        let table = Table::new("sums");
        match self.ttl_ms {
            Some(ms) => table.ttl(Duration::from_millis(ms as u64)),
            None => table,
        }
    }
}

fn orders() -> Topic<String, i64> {
    Topic::new("orders")
}

fn out() -> Topic<String, i64> {
    Topic::new("out")
}

/// What an order reads and writes, depending on its value.
struct Work {
    own: i64,
    total: i64,
    all: i64,
}

impl Work {
    fn fails(&self, value: i64) -> bool {
        value % 6 == 3 && (self.own + self.total) % 2 == 0
    }

    fn sent(&self, value: i64) -> i64 {
        ((self.own * 1_009 + self.total) * 1_009 + self.all) * 1_009 + value
    }

    fn own_then(&self, value: i64) -> Option<i64> {
        (value % 7 != 0).then_some(self.own + value)
    }
}

/// Whether it cannot be decoded.
fn is_broken(value: i64) -> bool {
    value % 8 == 0
}

fn uses_total(value: i64) -> bool {
    value % 3 == 0
}

fn uses_all(value: i64) -> bool {
    value % 5 == 0
}

fn read(
    cx: &Context,
    table: &Table<String, i64>,
    order: &Record<String, i64>,
) -> Result<Work, AgentError> {
    let rows = cx.table(table);
    let own = rows.get(&order.key)?.unwrap_or(0);
    let total = if uses_total(order.value) { rows.get(&TOTAL.into())?.unwrap_or(0) } else { 0 };
    let mut all = 0;
    if uses_all(order.value) {
        for row in rows.range("a".to_owned().."c".to_owned())? {
            all += row?.1;
        }
    }
    Ok(Work { own, total, all })
}

async fn sum(
    mut orders: Records<String, i64>,
    cx: Context,
    service: Service,
    shape: Shape,
) -> AgentResult {
    let table = shape.table();
    loop {
        let batch = if shape.is_batched {
            orders.take(3, Duration::from_millis(5)).await
        } else {
            Vec::from_iter(orders.next().await)
        };
        for order in batch {
            let id = format!("order {}", order.value);
            service.clone().ask(id.clone(), 1).await?;
            let work = read(&cx, &table, &order)?;
            if order.value % 2 == 0 {
                service.clone().ask(id, 2).await?;
            }
            if work.fails(order.value) {
                return Err("fails by what it has read".into());
            }
            let rows = cx.table(&table);
            match work.own_then(order.value) {
                Some(own) => rows.put(&order.key, &own)?,
                None => rows.delete(&order.key)?,
            }
            if uses_total(order.value) {
                rows.put(&TOTAL.into(), &(work.total + order.value))?;
            }
            cx.send(&out(), order.key, work.sent(order.value))?;
        }
    }
}

fn summing(service: &Service, shape: Shape) -> Topology {
    let app = Builder::new("t");
    let service = service.clone();
    let skip = orders().consumed().on_error(ErrorPolicy::Skip);
    let agent = if shape.on_stream {
        app.stream(skip).filter(|_, _| true).agent("sum")
    } else {
        app.agent("sum", skip)
    };
    let agent = agent.writes(&shape.table()).sends(&out()).concurrency(shape.agents);
    agent.run(move |orders, cx| sum(orders, cx, service.clone(), shape));
    app.build().expect("valid")
}

/// An order's key, value and time. The value is the offset plus one.
type Order = (&'static str, i64, i64);

/// What one future would send, and the table that it would write.
fn model(all: &[Order], ttl_ms: Option<i64>) -> (Vec<i64>, BTreeMap<String, i64>) {
    let mut rows: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut stream_time = i64::MIN;
    let mut sent = Vec::new();
    let is_there = |at: i64, now: i64| ttl_ms.is_none_or(|ttl| at > now.saturating_sub(ttl));
    for (key, value, at) in all.iter().filter(|(_, value, _)| !is_broken(*value)) {
        let now = stream_time.max(*at);
        let get = |key: &str| {
            let row = rows.get(key).filter(|(at, _)| is_there(*at, now));
            row.map_or(0, |(_, value)| *value)
        };
        let keys = rows.keys().filter(|key| key.as_str() < "c" && uses_all(*value));
        let work = Work {
            own: get(key),
            total: if uses_total(*value) { get(TOTAL) } else { 0 },
            all: keys.map(|key| get(key)).sum(),
        };
        if work.fails(*value) {
            continue;
        }
        sent.push(work.sent(*value));
        match work.own_then(*value) {
            Some(own) => drop(rows.insert((*key).to_owned(), (*at, own))),
            None => drop(rows.remove(*key)),
        }
        if uses_total(*value) {
            rows.insert(TOTAL.to_owned(), (*at, work.total + value));
        }
        if work.own_then(*value).is_some() || uses_total(*value) {
            stream_time = stream_time.max(*at);
        }
    }
    rows.retain(|_, (at, _)| is_there(*at, stream_time));
    (sent, rows.into_iter().map(|(key, (_, value))| (key, value)).collect())
}

/// One run of the task.
struct Life {
    task: Task,
    now: i64,
}

impl Life {
    fn begin(topology: Topology, stores: &SurvivingStores, all: &[Order], from: &Resume) -> Self {
        let id = TaskId { sub_topology: 0, partition: 0 };
        let store = stores.open("0-0", &["sums".into()]).expect("opens");
        let mut task = Task::new(Arc::new(topology), id, store);
        task.resume(std::slice::from_ref(from), 0).expect("resumes");
        task.observe(0, true, false);
        let record = |(offset, (key, value, timestamp)): (usize, &Order)| OwnedRecord {
            offset: offset as i64,
            key: Some(key.as_bytes().into()),
            value: Some(if is_broken(*value) { [1].into() } else { value.to_be_bytes().into() }),
            timestamp: *timestamp,
            ..OwnedRecord::default()
        };
        let records = all.iter().enumerate().skip(from.offset as usize).map(record);
        task.enqueue(0, Box::new(OwnedBatch::from(records.collect::<Vec<_>>())));
        Self { task, now: 0 }
    }

    fn turn(&mut self) -> Vec<i64> {
        self.now += 1;
        let mut effects = Effects::new();
        self.task.step(self.now, 1_000, &mut effects).expect("goes on");
        self.task.advance(self.now, &mut effects).expect("goes on");
        let value = |value: Option<&[u8]>| value.expect("a value").try_into().expect("eight bytes");
        let sent = effects.iter().filter(|effect| &**effect.topic == "out");
        sent.map(|effect| i64::from_be_bytes(value(effect.value))).collect()
    }

    fn commit(&mut self) -> Resume {
        let mut commit = self.task.prepare_commit(&mut Effects::new()).expect("commits");
        let InputOffset { offset, metadata, .. } = commit.offsets.remove(0);
        self.task.committed(&[Some(offset)], self.now).expect("is kept");
        Resume { offset, metadata, committed: true }
    }
}

fn run(seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let shape = Shape::of(&mut dice);
    let service = Service::default();
    let keys = ["a", "b", "c", "d", "e"];
    let step = 1 + dice.below(4);
    let all: Vec<Order> = (0..24)
        .map(|n| (keys[dice.below(5)], n + 1, n * step as i64 + dice.below(9) as i64))
        .collect();
    let stores = SurvivingStores::new();
    let mut sent = Vec::new();
    let mut most = 0;
    let mut done = Resume { offset: 0, metadata: String::new(), committed: true };
    let mut life = Life::begin(summing(&service, shape), &stores, &all, &done);
    let mut pending = Vec::new();
    for _ in 0..20_000 {
        pending.extend(life.turn());
        if dice.below(60) == 0 {
            // The transaction was aborted, or the process killed: nothing since the last commit
            // counts.
            pending.clear();
            drop(life);
            life = Life::begin(summing(&service, shape), &stores, &all, &done);
            continue;
        }
        if dice.below(2) == 0 {
            done = life.commit();
            sent.append(&mut pending);
            if done.offset == 24 {
                break;
            }
        }
        let open: Vec<_> = service.with(|requests| requests.open.keys().cloned().collect());
        most = most.max(open.len());
        for (id, attempt) in open {
            if dice.below(3) == 0 {
                service.answer(&id, attempt, Ok(0));
            }
        }
    }
    assert_eq!(done.offset, 24, "seed {seed}: {shape:?}");
    drop(life);
    let (mut expected, rows) = model(&all, shape.ttl_ms);
    if shape.is_batched {
        // The output of a batch is at the position of its first record.
        sent.sort_unstable();
        expected.sort_unstable();
    }
    assert_eq!(sent, expected, "seed {seed}: {shape:?}, {all:?}");
    if shape.ttl_ms.is_none() {
        let store = stores.open("0-0", &["sums".into()]).expect("opens");
        assert_eq!(held(&*store), rows, "seed {seed}: {shape:?}");
    }
    most
}

/// The rows of the committed table.
fn held(store: &dyn Store) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    let mut show = |key: &[u8], stored: &[u8]| {
        let key = String::from_utf8(key.to_vec()).expect("text");
        let value = stored.last_chunk::<8>().expect("eight bytes");
        rows.insert(key, i64::from_be_bytes(*value));
        std::ops::ControlFlow::Continue(())
    };
    store.scan(0, b"", None, &mut show).expect("reads");
    rows
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test may be asked for more seeds")]
fn tables_and_outputs_match_one_future() {
    let seeds = std::env::var("HEADWATER_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let most = (0..seeds.unwrap_or(600)).map(run).max();
    assert!(most > Some(3), "side by side");
}

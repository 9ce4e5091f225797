//! Joins, merges, extracted timestamps and windows of different lengths in simulated worlds where
//! everything goes wrong. The output is the same as without faults: that of the records in the
//! order of their timestamps.
//!
//! All input exists before the start. Instances die, freeze and redistribute the tasks, fetches
//! return few records, and the leader of one input is unavailable while the others respond.
//! `HEADWATER_SEEDS=10000 cargo test --release --test inputs_in_simulated_worlds`.

mod support;

use std::error::Error;
use std::time::Duration;

use headwater::agents::{AgentResult, Context, Records};
use headwater::prelude::*;
use headwater::windows::{Base, Naming, Near, Plan, Unmerged, Window, Windows};
use testkit::{Dice, Incident, Outcome, Simulation, simulate};

use support::calm_run::{Application, input};

/// The timestamps lie within this many milliseconds, so that many are equal.
const SPAN: usize = 150;
const START: i64 = 1_000_000_000_000;

const APPLICATION: Application = Application {
    topology,
    inputs: &[
        "customers",
        "orders",
        "refunds",
        "views",
        "clicks",
        "meters",
        "limits",
        "visits",
        "calls",
    ],
    outputs: &[
        "joined",
        "balances",
        "pairs",
        "alarms",
        "looked-up",
        "shifts",
        "sessions",
        "last-of-shift",
    ],
    records: 60,
    record,
};

fn topology() -> headwater::Topology {
    let app = Builder::new("world");
    app.on_error(ErrorPolicy::Fail);
    orders_with_customers(&app);
    views_with_clicks(&app);
    meters_with_limits(&app);
    visits_by_shift(&app);
    app.build().expect("valid")
}

/// A table joined by a stream, read by an agent; a merge into an aggregation; three inputs.
fn orders_with_customers(app: &Builder) {
    let customers = Table::<String, u64>::new("customers");
    let seen = Topic::new("looked-up");
    let rows = app.table(&input("customers"), &customers);
    let orders = app.stream(&input("orders")).shared();
    orders
        .clone()
        .left_join_table(&rows, |_, order, customer| text(*order, customer))
        .to(&Topic::new("joined"));
    orders
        .merge(app.stream(&input("refunds")))
        .group_by_key()
        .aggregate(&Table::<String, String>::new("balances"), String::new, |balance, _, number| {
            balance.push_str(&format!("{number},"));
        })
        .to(&Topic::new("balances"));
    app.agent("look", &input("orders"))
        .reads(&customers)
        .sends(&seen)
        .run(move |orders, cx| look(orders, cx, customers.clone(), seen.clone()));
}

fn text(order: u64, customer: Option<&u64>) -> String {
    format!("{order} of {customer:?}")
}

async fn look(
    mut orders: Records<String, u64>,
    cx: Context,
    customers: Table<String, u64>,
    seen: Topic<String, String>,
) -> AgentResult {
    while let Some(order) = orders.next().await {
        let customer = cx.table(&customers).get(&order.key)?;
        cx.send(&seen, order.key, text(order.value, customer.as_ref()))?;
    }
    Ok(())
}

/// Two streams, by unequal bounds.
fn views_with_clicks(app: &Builder) {
    let millis = Duration::from_millis;
    app.stream(&input("views"))
        .outer_join(
            app.stream(&input("clicks")),
            JoinWindows::of(millis(10), millis(30)).grace(millis(20)),
            &JoinBuffers::json("views-and-clicks"),
            |_, view, click| format!("{view:?} and {click:?}"),
        )
        .to(&Topic::new("pairs"));
}

/// A stream joined with a table, both with event times in their values. By the records' own
/// timestamps, everything would be in reverse order.
fn meters_with_limits(app: &Builder) {
    let by_value = |name: &str| {
        input(name).consumed().timestamps(|record: &Record<String, u64>| event_time(record.value))
    };
    let limits = app
        .stream(by_value("limits"))
        .group_by_key()
        .reduce(&Table::new("limits"), |_, limit| limit)
        .into_table();
    app.stream(by_value("meters"))
        .left_join_table(&limits, |_, meter, limit| text(*meter, limit))
        .to(&Topic::new("alarms"));
}

/// Windows whose lengths alternate between 7, 23 and 15 milliseconds.
#[derive(Clone)]
struct Shifts;

const ROUND: i64 = 7 + 23 + 15;

impl Shifts {
    fn around(timestamp: i64) -> Window {
        let at = timestamp.rem_euclid(ROUND);
        let round = timestamp - at;
        let (start, end) = match at {
            0..7 => (0, 7),
            7..30 => (7, 30),
            _ => (30, ROUND),
        };
        Window { start: round + start, end: round + end }
    }
}

impl Windows for Shifts {
    fn naming(&self) -> Naming {
        Naming::Start
    }

    fn starting_at(&self, start: i64) -> Window {
        Self::around(start)
    }

    fn place(&self, timestamp: i64, time: i64, _: &[Near], plan: &mut Plan) {
        let shift = Self::around(timestamp);
        if self.closes_at(shift) > time {
            plan.add(shift, Base::Stored);
        }
    }

    fn final_after_end_ms(&self) -> i64 {
        60
    }

    fn idle_after_ms(&self) -> Option<i64> {
        Some(IDLE.as_millis() as i64)
    }
}

impl Unmerged for Shifts {}

/// Shorter than freezes, outages of the log or a leader, and time jumps.
const IDLE: Duration = Duration::from_secs(1);

/// Windows that close by stream time or when input is idle, and a suppressed window, of two inputs
/// that lag behind each other.
fn visits_by_shift(app: &Builder) {
    let both = app.stream(&input("visits")).merge(app.stream(&input("calls"))).shared();
    let name = |window: &Windowed<String>| format!("{}@{}", window.key, window.start);
    let counts = both.clone().group_by_key().window(Shifts).count(&Table::new("shifts"));
    let closed = counts.closed();
    closed.map(move |shift, count| (name(&shift), count.to_string())).to(&Topic::new("shifts"));
    let millis = Duration::from_millis;
    both.clone()
        .group_by_key()
        .window(Session::of(millis(9)).grace(millis(60)).idle_after(IDLE))
        .reduce(&Table::new("sessions"), |one, other| one.max(other))
        .closed()
        .map(move |visit, last| (format!("{}-{}", name(&visit), visit.end), last.to_string()))
        .to(&Topic::new("sessions"));
    both.group_by_key()
        .window(Shifts)
        .reduce(&Table::new("last-of-shift"), |_, last| last)
        .into_table()
        .suppress(Suppress::until_window_closes(), "held-back")
        .to_stream()
        .map(move |shift, last| (name(&shift), format!("{last:?}")))
        .to(&Topic::new("last-of-shift"));
}

fn event_time(value: u64) -> i64 {
    START + (value / 1_000) as i64
}

fn record(dice: &mut Dice, number: u64) -> Record<String, u64> {
    let at = dice.below(SPAN);
    // The record's own timestamp is the reverse of the time in the value.
    let value = at as u64 * 1_000 + number;
    Record::new(format!("k{}", dice.below(5)), value, START + (SPAN - at) as i64)
}

fn world(seed: u64) -> Simulation {
    APPLICATION.world(seed).check(check)
}

fn check(outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    let mut calm = APPLICATION.calm_run(outcome)?;
    // Idle windows close.
    calm.advance(IDLE * 100)?;
    APPLICATION.compare_outputs(outcome, &mut calm)
}

#[test]
fn what_comes_out_does_not_depend_on_what_goes_wrong() {
    let summary = simulate(0..1_000, world).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{summary}");
    if summary.seeds >= 1_000 {
        assert!(summary.incidents.count(Incident::LeaderAway) > 1_000);
    }
}

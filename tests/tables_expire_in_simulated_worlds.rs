//! Tables with a `ttl`, and processors that read windows, in simulated worlds where everything goes
//! wrong: output and tables are the same as without faults.
//!
//! All input exists before the start, with offsets in a very different order from timestamps.
//! `HEADWATER_SEEDS=10000 cargo test --release --test tables_expire_in_simulated_worlds`.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use headwater::prelude::*;
use testkit::{Dice, Outcome, Simulation, simulate};

use support::calm_run::{Application, input, output};

const APPLICATION: Application = Application {
    topology,
    inputs: &["settings", "clicks"],
    outputs: &["changes", "counts", "once", "read"],
    records: 80,
    record,
};
const TTL: Duration = Duration::from_millis(25);
const START: i64 = 1_000_000_000_000;

fn settings() -> Table<String, u64> {
    Table::new("settings").ttl(TTL)
}

fn counts() -> Table<String, u64> {
    Table::new("counts").ttl(TTL)
}

fn seen() -> Table<String, u64> {
    Table::new("seen").ttl(TTL)
}

fn per_window() -> Table<String, u64> {
    Table::new("per-window")
}

fn topology() -> Topology {
    let app = Builder::new("world");
    let millis = Duration::from_millis;
    let changes = app.table(&input("settings"), &settings()).to_stream();
    changes.map_values(|value| format!("{value:?}")).to(&output("changes"));
    let clicks = app.stream(&input("clicks")).shared();
    let counted = clicks.clone().group_by_key().count(&counts()).updates();
    counted.map_values(|count| count.to_string()).to(&output("counts"));
    let windows = Tumbling::of(millis(10)).grace(millis(30)).retention(millis(60));
    clicks.clone().group_by_key().window(windows).count(&per_window());
    let once = clicks.clone().process::<String, String>("deduplicate").table(&seen());
    let once = once.each(|click, cx| {
        let table = seen();
        let mut seen = cx.table(&table)?;
        // Every third one is treated differently.
        let key = format!("{}-{}", click.key, click.value % 3);
        if seen.get(&key)?.is_some() {
            return Ok(());
        }
        seen.put(&key, &click.value)?;
        cx.forward(Record::new(click.key, click.value.to_string(), click.timestamp))
    });
    once.to(&output("once"));
    let read = clicks.process::<String, String>("read");
    let read = read.reads(&settings()).reads(&per_window()).each(|click, cx| {
        let settings = settings();
        let windows = per_window();
        let all = cx.table(&settings)?.range(..)?.collect::<Result<Vec<_>, _>>()?;
        let mut windows = cx.table(&windows)?;
        let recent = windows.windows(&click.key, click.timestamp - 35..=click.timestamp)?;
        let recent = recent.collect::<Result<Vec<_>, _>>()?;
        cx.forward(Record::new(click.key, format!("{all:?} {recent:?}"), click.timestamp))
    });
    read.to(&output("read"));
    app.build().expect("valid")
}

/// Timestamps that advance slowly or by more than the ttl, with some that are slightly or very
/// late.
fn record(dice: &mut Dice, number: u64) -> Record<String, u64> {
    let late = if dice.below(4) == 0 { dice.below(70) } else { dice.below(4) };
    let at = START + (number as i64) * 4 + 50 - late as i64;
    Record::new(format!("k{}", dice.below(6)), number, at)
}

fn world(seed: u64) -> Simulation {
    APPLICATION.world(seed).check(check)
}

fn check(outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    let mut calm = APPLICATION.calm_run(outcome)?;
    APPLICATION.compare_outputs(outcome, &mut calm)?;
    // Settings are deleted only by expiry.
    let expired = outcome.committed(&output("changes"))?;
    if !expired.iter().any(|change| change.value == "None") {
        return Err("no row has expired".into());
    }
    for table in [settings(), counts(), seen()] {
        let rows = calm.table_rows(&table)?.into_iter().map(|row| (row.key, row.value));
        let was = rows.collect::<BTreeMap<_, _>>();
        let is = outcome.table_rows(&table)?;
        if was != is {
            return Err(format!("{}: {is:?}\nexpected: {was:?}", table.name()).into());
        }
    }
    Ok(())
}

#[test]
fn what_expires_does_not_depend_on_what_goes_wrong() {
    let summary = simulate(0..1_000, world).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{summary}");
}

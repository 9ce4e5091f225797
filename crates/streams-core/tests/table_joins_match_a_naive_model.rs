//! A joined table equals the join of the current tables and forwards each change, even when one
//! record changes a row several times.

mod mishaps;

use std::collections::BTreeMap;
use std::ops::Range;

use headwater_streams_core::codec::{Bytes, Json, Nullable};
use headwater_streams_core::{Builder, Record, Table, Topic, Topology};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

const KEYS: Range<u8> = 0..4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
    /// By a foreign key: the left row names the right one.
    Foreign,
    ForeignLeft,
}

/// A left row: the row that it refers to, if any, and a number.
type Left = (Option<String>, i64);
/// The numbers of both rows.
type Joined = (Option<i64>, Option<i64>);

/// A record that changes a row of the left or the right table, once or several times. Without a
/// value it is a deletion.
#[derive(Clone, Debug)]
enum Update {
    Left(u8, Vec<Option<(Option<u8>, i64)>>),
    Right(u8, Vec<Option<i64>>),
}

fn left_input() -> Topic<String, Vec<Option<Left>>> {
    Topic::json("left")
}

fn right_input() -> Topic<String, Vec<Option<i64>>> {
    Topic::json("right")
}

fn name(key: u8) -> String {
    "k".repeat(usize::from(key) + 1)
}

fn output() -> Topic<String, Option<Joined>> {
    Topic::with("out", Bytes, Nullable(Json))
}

fn kept() -> Table<String, Joined> {
    Table::json("joined")
}

/// The number of rows of the join and the sum of their numbers. They are right only if every change
/// has the right old value.
fn sums() -> Table<String, (i64, i64)> {
    Table::json("sums")
}

fn total(joined: &Joined) -> i64 {
    joined.0.unwrap_or(0) + joined.1.unwrap_or(0)
}

fn topology(kind: Kind) -> Topology {
    let app = Builder::new("model");
    let left = app.stream(&left_input()).flat_map_values(|rows| rows);
    let left = left.to_table(&Table::<String, Left>::json("left"));
    let right = app.stream(&right_input()).flat_map_values(|rows| rows);
    let right = right.to_table(&Table::<String, i64>::new("right"));
    let to = |_: &String, left: &Left| left.0.clone();
    let joined = match kind {
        Kind::Inner => left.join(&right, |_, l, r| (Some(l.1), Some(*r))),
        Kind::Left => left.left_join(&right, |_, l, r| (Some(l.1), r.copied())),
        Kind::Outer => left.outer_join(&right, |_, l, r| (l.map(|l| l.1), r.copied())),
        Kind::Foreign => left.fk_join(&right, &kept(), to, |_, l, r| (Some(l.1), Some(*r))),
        Kind::ForeignLeft => {
            left.fk_left_join(&right, &kept(), to, |_, l, r| (Some(l.1), r.copied()))
        }
    };
    // The sums get the changes from the join itself, not from the table that stores it, which knows
    // the old values.
    match kind {
        Kind::Inner | Kind::Left | Kind::Outer => joined.keep(&kept()).to_stream().to(&output()),
        Kind::Foreign | Kind::ForeignLeft => joined.to_stream().to(&output()),
    }
    let all = joined.group_by("all", |_, joined| ("all".to_owned(), total(joined)));
    let add = |sum: &mut (i64, i64), _: &String, total| *sum = (sum.0 + 1, sum.1 + total);
    let subtract = |sum: &mut (i64, i64), _: &String, total| *sum = (sum.0 - 1, sum.1 - total);
    all.aggregate(&sums(), || (0, 0), add, subtract);
    app.build().expect("valid")
}

fn set<V>(rows: &mut BTreeMap<u8, V>, key: u8, row: Option<V>) {
    match row {
        Some(row) => drop(rows.insert(key, row)),
        None => drop(rows.remove(&key)),
    }
}

#[derive(Default)]
struct Model {
    left: BTreeMap<u8, (Option<u8>, i64)>,
    right: BTreeMap<u8, i64>,
}

impl Model {
    fn update(&mut self, update: &Update) {
        match update {
            Update::Left(key, rows) => {
                rows.iter().for_each(|row| set(&mut self.left, *key, *row));
            }
            Update::Right(key, rows) => {
                rows.iter().for_each(|row| set(&mut self.right, *key, *row));
            }
        }
    }

    fn row(&self, kind: Kind, key: u8) -> Option<Joined> {
        let left = self.left.get(&key);
        let right = match kind {
            Kind::Foreign | Kind::ForeignLeft => left.and_then(|left| left.0),
            _ => Some(key),
        };
        let right = right.and_then(|right| self.right.get(&right));
        let is_there = match kind {
            Kind::Inner | Kind::Foreign => left.is_some() && right.is_some(),
            Kind::Left | Kind::ForeignLeft => left.is_some(),
            Kind::Outer => left.is_some() || right.is_some(),
        };
        is_there.then(|| (left.map(|left| left.1), right.copied()))
    }

    fn rows(&self, kind: Kind) -> BTreeMap<String, Joined> {
        KEYS.filter_map(|key| Some((name(key), self.row(kind, key)?))).collect()
    }
}

fn queue(test: &mut TopologyTest, update: &Update, at: i64) {
    let queued = match update {
        Update::Left(key, rows) => {
            let named = |(to, number): (Option<u8>, i64)| (to.map(name), number);
            let rows = rows.iter().map(|row| row.map(named)).collect();
            test.queue(&left_input(), &Record::new(name(*key), rows, at))
        }
        Update::Right(key, rows) => {
            test.queue(&right_input(), &Record::new(name(*key), rows.clone(), at))
        }
    };
    queued.expect("encodes");
}

fn kinds() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop::sample::select(vec![Inner, Left, Outer, Foreign, ForeignLeft])
}

/// Usually one row, sometimes several.
fn rows<T: std::fmt::Debug + 'static>(
    row: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    let row = row.boxed();
    prop_oneof![
        3 => prop::collection::vec(row.clone(), 1..2),
        1 => prop::collection::vec(row, 2..5),
    ]
}

fn updates() -> impl Strategy<Value = Vec<Update>> {
    let row = prop::option::weighted(0.7, (prop::option::weighted(0.8, KEYS), 0..3_i64));
    let left = (KEYS, rows(row)).prop_map(|(key, rows)| Update::Left(key, rows));
    let right = (KEYS, rows(prop::option::weighted(0.7, 0..3_i64)));
    let right = right.prop_map(|(key, rows)| Update::Right(key, rows));
    prop::collection::vec(prop_oneof![left, right], 1..40)
}

/// Runs with a random order of the tasks' turns: a seed, and how many updates are sent at once.
fn turns() -> impl Strategy<Value = Option<(u64, usize)>> {
    prop::option::of((any::<u64>(), 1..12_usize))
}

/// The joined table and the sums match the model.
fn assert_tables(test: &mut TopologyTest, kind: Kind, model: &Model) {
    let rows = test.table_rows(&kept()).expect("reads");
    let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key, row.value)).collect();
    let expected = model.rows(kind);
    assert_eq!(rows, expected);
    let sum = expected.values().fold((0, 0), |sum, row| (sum.0 + 1, sum.1 + total(row)));
    let found = test.table(&sums(), &"all".to_owned()).expect("reads");
    assert_eq!(found.unwrap_or((0, 0)), sum);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn table_joins_match_a_naive_model(
        kind in kinds(), updates in updates(), mishaps in Mishaps::any(), turns in turns(),
    ) {
        let partitions = [("left", 3), ("right", 3)];
        let mut test = TopologyTest::with_partitions(topology(kind), &partitions);
        mishaps.begin(&mut test);
        turns.into_iter().for_each(|(seed, _)| test.interleave(seed));
        let at_once = turns.map_or(1, |(_, at_once)| at_once);
        let mut model = Model::default();
        for (step, some) in updates.chunks(at_once).enumerate() {
            let before = model.rows(kind);
            for (index, update) in some.iter().enumerate() {
                queue(&mut test, update, (step * at_once + index) as i64);
                model.update(update);
            }
            mishaps.before(step, &mut test);
            test.run().expect("processed");
            assert_tables(&mut test, kind, &model);
            // The last change of a row is its value.
            let told: BTreeMap<_, _> = test.take(&output()).expect("decodes").into_iter().collect();
            let after = model.rows(kind);
            for key in KEYS.map(name) {
                let last = told.get(&key).map_or(before.get(&key), Option::as_ref);
                prop_assert_eq!(last, after.get(&key), "at step {}", step);
            }
        }
    }
}

//! The groups of a table contain the table's rows and forward each change as it happens, even when
//! one record changes a row several times.

mod mishaps;

use std::collections::BTreeMap;
use std::ops::Range;

use headwater_streams_core::codec::{Bytes, Json, Nullable};
use headwater_streams_core::{Builder, Record, Table, Topic, Topology};
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

const KEYS: Range<u8> = 0..5;

/// A row: its group, if it is in one, and its number.
type Row = (Option<String>, i64);
type Key = Option<String>;
/// The numbers of a group's rows, in order; null if there are none.
type List = Option<Vec<i64>>;

fn name(key: u8) -> String {
    "k".repeat(usize::from(key) + 1)
}

fn input() -> Topic<String, Vec<Option<Row>>> {
    Topic::json("rows")
}

fn output() -> Topic<Key, List> {
    Topic::with("out", Nullable(Bytes), Nullable(Json))
}

fn lists() -> Table<Key, List> {
    Table::with("lists", Nullable(Bytes), Nullable(Json))
}

fn sums() -> Table<Key, i64> {
    Table::new("sums")
}

fn counts() -> Table<Key, u64> {
    Table::new("counts")
}

fn put(list: &mut List, _: &Key, number: i64) {
    let numbers = list.get_or_insert_default();
    numbers.push(number);
    numbers.sort_unstable();
}

fn take_out(list: &mut List, _: &Key, number: i64) {
    let numbers = list.as_mut().expect("a list that is not empty");
    let place = numbers.iter().position(|one| *one == number);
    numbers.remove(place.expect("a number that is in the list"));
    if numbers.is_empty() {
        *list = None;
    }
}

/// `is_derived`: the grouped rows are not those of the topic but a filtered and mapped version.
fn topology(is_derived: bool) -> Topology {
    let app = Builder::new("model");
    let changes = app.stream(&input()).flat_map_values(|rows| rows);
    let mut rows = changes.to_table(&Table::<String, Row>::json("rows"));
    if is_derived {
        let large = rows.filter(|_, (_, number)| *number > 0);
        rows = large.map_values(|_, (group, number)| (group, -number));
    }
    let grouped = |name| rows.group_by(name, |_, row: &Row| row.clone());
    grouped("to-lists").aggregate(&lists(), || None, put, take_out).to(&output());
    grouped("to-sums").reduce(&sums(), |sum, number| sum + number, |sum, number| sum - number);
    grouped("to-counts").count(&counts());
    app.build().expect("valid")
}

#[derive(Default)]
struct Model {
    is_derived: bool,
    rows: BTreeMap<String, Row>,
    /// The groups that ever had a row, with the numbers that they have.
    groups: BTreeMap<Key, Vec<i64>>,
}

impl Model {
    /// The row of `key` as it is grouped.
    fn grouped(&self, key: &str) -> Option<Row> {
        let (group, number) = self.rows.get(key)?.clone();
        let number = if self.is_derived { -number } else { number };
        let passes = !self.is_derived || number < 0;
        (passes && group.is_some()).then_some((group, number))
    }

    /// The forwarded changes, for each group in order.
    fn update(&mut self, key: &str, row: Option<Row>) -> Vec<(Key, List)> {
        let old = self.grouped(key).map(|(group, _)| group);
        match row {
            Some(row) => drop(self.rows.insert(key.to_owned(), row)),
            None => drop(self.rows.remove(key)),
        }
        let new = self.grouped(key).map(|(group, _)| group);
        let mut changed: Vec<Key> = old.into_iter().chain(new).collect();
        changed.sort();
        changed.dedup();
        for group in &changed {
            let all = self.rows.keys().filter_map(|key| self.grouped(key));
            let own = all.filter(|row| row.0 == *group).map(|row| row.1);
            let mut numbers: Vec<_> = own.collect();
            numbers.sort_unstable();
            self.groups.insert(group.clone(), numbers);
        }
        changed.into_iter().map(|group| (group.clone(), self.list(&group))).collect()
    }

    fn list(&self, group: &Key) -> List {
        self.groups.get(group).cloned().filter(|numbers| !numbers.is_empty())
    }
}

fn assert_tables(test: &mut TopologyTest, model: &Model) {
    for (group, numbers) in &model.groups {
        let list = test.table(&lists(), group).expect("reads");
        assert_eq!(list.flatten(), model.list(group), "{group:?}");
        let sum = test.table(&sums(), group).expect("reads");
        assert_eq!(sum, Some(numbers.iter().sum()), "{group:?}");
        let count = test.table(&counts(), group).expect("reads");
        assert_eq!(count, Some(numbers.len() as u64), "{group:?}");
    }
}

fn updates() -> impl Strategy<Value = Vec<(String, Vec<Option<Row>>)>> {
    let group = prop::option::weighted(0.8, (0..3_u8).prop_map(name));
    let row = prop::option::weighted(0.8, (group, -2..3_i64));
    let rows = prop_oneof![
        3 => prop::collection::vec(row.clone(), 1..2),
        1 => prop::collection::vec(row, 2..5),
    ];
    prop::collection::vec((KEYS.prop_map(name), rows), 1..50)
}

/// Runs with a random order of the tasks' turns: a seed, and how many updates are sent at once.
fn turns() -> impl Strategy<Value = Option<(u64, usize)>> {
    prop::option::of((any::<u64>(), 1..12_usize))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn group_by_of_a_table_matches_a_naive_model(
        is_derived in any::<bool>(), updates in updates(), mishaps in Mishaps::any(),
        turns in turns(),
    ) {
        let mut test = TopologyTest::with_partitions(topology(is_derived), &[("rows", 3)]);
        mishaps.begin(&mut test);
        turns.into_iter().for_each(|(seed, _)| test.interleave(seed));
        let at_once = turns.map_or(1, |(_, at_once)| at_once);
        let mut model = Model { is_derived, ..Model::default() };
        for (step, some) in updates.chunks(at_once).enumerate() {
            let mut expected = Vec::new();
            for (key, rows) in some {
                let record = Record::new(key.clone(), rows.clone(), step as i64);
                test.queue(&input(), &record).expect("encodes");
                expected.extend(rows.iter().flat_map(|row| model.update(key, row.clone())));
            }
            mishaps.before(step, &mut test);
            test.run().expect("processed");
            assert_tables(&mut test, &model);
            let mut told = test.take(&output()).expect("decodes");
            prop_assert_eq!(told.len(), expected.len(), "at step {}", step);
            if at_once == 1 {
                // Groups of different partitions have no order.
                told.sort_by_key(|(group, _)| group.clone());
                expected.sort_by_key(|(group, _)| group.clone());
                prop_assert_eq!(told, expected, "at step {}", step);
            } else {
                for (group, last) in told.into_iter().collect::<BTreeMap<_, _>>() {
                    prop_assert_eq!(last, model.list(&group), "at step {}", step);
                }
            }
        }
    }
}

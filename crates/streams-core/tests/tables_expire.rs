//! Rows of a table with a `ttl` exist until stream time has passed them, to the millisecond, for
//! every kind of reader. Downstream operators see the deletion once. Nothing depends on when
//! commits happen, or on restarts.
#![allow(clippy::unwrap_used)]

mod mishaps;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::prelude::*;
use headwater_testkit::TopologyTest;
use mishaps::Mishaps;
use proptest::prelude::*;

/// How the table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// By a stream.
    Stream,
    /// By changes of another table.
    Table,
    /// By an aggregation.
    Sum,
    /// By a processor.
    Processor,
    /// By an agent.
    Agent,
}

const WRITERS: [Writer; 5] =
    [Writer::Stream, Writer::Table, Writer::Sum, Writer::Processor, Writer::Agent];

/// Operators downstream of the table cannot process this.
const BROKEN: i64 = 13;

fn input() -> Topic<String, Option<i64>> {
    Topic::new("in")
}

fn changes() -> Topic<String, Option<i64>> {
    Topic::new("changes")
}

fn seen() -> Topic<String, String> {
    Topic::new("seen")
}

fn rows(ttl: i64) -> Table<String, i64> {
    Table::new("rows").ttl(Duration::from_millis(ttl as u64))
}

fn totals() -> Table<String, i64> {
    Table::new("totals")
}

fn topology(writer: Writer, ttl: i64) -> Topology {
    let app = Builder::new("model");
    app.on_error(ErrorPolicy::Skip);
    match writer {
        Writer::Stream => told(app.stream(&input()).to_table(&rows(ttl))),
        Writer::Table => {
            let all = app.stream(&input()).to_table(&Table::<String, i64>::new("all"));
            told(all.keep(&rows(ttl)));
        }
        Writer::Sum => {
            let numbers = app.stream(&input()).flat_map_values(|n| n);
            let sums = numbers.group_by_key().reduce(&rows(ttl), |a, b| a + b);
            told(sums.into_table());
        }
        Writer::Processor => processor(&app, ttl),
        Writer::Agent => agent(&app, ttl),
    }
    reader(&app, ttl);
    app.build().unwrap()
}

/// The changes, and a sum over all rows, which is right only if every change has the right old
/// value.
fn told(table: TableStream<'_, String, i64>) {
    let check = |n: Option<i64>| if n == Some(BROKEN) { Err("it is broken") } else { Ok(n) };
    table.to_stream().try_map_values(check).to(&changes());
    let all = table.group_by("all", |_, n| ("all".to_owned(), *n));
    all.reduce(&totals(), |sum, n| sum + n, |sum, n| sum - n);
}

fn processor(app: &Builder, ttl: i64) {
    let process = app.stream(&input()).process::<String, Option<i64>>("write").table(&rows(ttl));
    let written = process.each(move |record, cx| {
        let table = rows(ttl);
        let Record { key, value, timestamp } = record;
        let mut rows = cx.table(&table)?;
        match value {
            Some(BROKEN) => {
                rows.put(&key, &BROKEN)?;
                return Err("it is broken".parse::<i64>().unwrap_err().into());
            }
            Some(n) => rows.put(&key, &n)?,
            None => rows.delete(&key)?,
        }
        let value = rows.get(&key)?;
        cx.forward(Record { key, value, timestamp })
    });
    written.to(&changes());
}

fn agent(app: &Builder, ttl: i64) {
    let agent = app.agent("write", &input()).writes(&rows(ttl)).sends(&changes());
    agent.run(move |mut records, cx| async move {
        while let Some(Record { key, value, timestamp }) = records.next().await {
            let table = rows(ttl);
            let rows = cx.table(&table);
            match value {
                Some(n) => rows.put(&key, &n)?,
                None => rows.delete(&key)?,
            }
            if value == Some(BROKEN) {
                return Err("it is broken".into());
            }
            let value = rows.get(&key)?;
            cx.send_at(&changes(), Record { key, value, timestamp })?;
        }
        Ok(())
    });
}

/// Another chain of the same task: all rows, and the record's own, as the record has left them.
fn reader(app: &Builder, ttl: i64) {
    let process = app.stream(&input()).process::<String, String>("read").reads(&rows(ttl));
    let read = process.each(move |record, cx| {
        let table = rows(ttl);
        let own = cx.table(&table)?.get(&record.key)?;
        let all = cx.table(&table)?.range(..)?.collect::<Result<Vec<_>, _>>()?;
        let more = cx.table(&table)?.prefix("kk").collect::<Result<Vec<_>, _>>()?;
        assert_eq!(
            more,
            all.iter().filter(|(k, _)| k.starts_with("kk")).cloned().collect::<Vec<_>>()
        );
        cx.forward(Record::new(record.key, text(own, all.into_iter()), 0))
    });
    read.to(&seen());
}

fn text(own: Option<i64>, rows: impl Iterator<Item = (String, i64)>) -> String {
    format!("{own:?} of {:?}", rows.collect::<Vec<_>>())
}

#[derive(Clone, Debug)]
struct Model {
    writer: Writer,
    ttl: i64,
    time: i64,
    rows: BTreeMap<String, (i64, i64)>,
}

/// Key, new value, timestamp.
type Told = (String, Option<i64>, i64);

impl Model {
    fn is_gone(&self, at: i64) -> bool {
        at + self.ttl <= self.time
    }

    /// What a record changes; `None` if it fails.
    fn arrive(&mut self, key: &str, at: i64, value: Option<i64>) -> Option<Vec<Told>> {
        let mut told = Vec::new();
        if self.writer == Writer::Sum && value.is_none() {
            return Some(told);
        }
        // With an agent, only the rows that it writes advance stream time.
        if self.writer != Writer::Agent || value.is_some() {
            self.time = self.time.max(at);
        }
        let before = self.rows.get(key).copied();
        if let Some((_, written)) = before.filter(|(_, written)| self.is_gone(*written)) {
            told.push((key.to_owned(), None, written + self.ttl));
            self.rows.remove(key);
        }
        let mut value = value;
        let mut at = at;
        if let (Writer::Sum, Some((sum, written))) = (self.writer, self.rows.get(key)) {
            value = value.map(|n| n + sum);
            at = at.max(*written);
        }
        match value {
            Some(BROKEN) => return None,
            Some(value) => drop(self.rows.insert(key.to_owned(), (value, at))),
            None => drop(self.rows.remove(key)),
        }
        told.push((key.to_owned(), value, at));
        let mut gone: Vec<_> = self.rows.iter().map(|(key, row)| (row.1, key.clone())).collect();
        gone.retain(|(written, _)| self.is_gone(*written));
        gone.sort();
        for (written, key) in gone {
            self.rows.remove(&key);
            told.push((key, None, written + self.ttl));
        }
        if matches!(self.writer, Writer::Processor | Writer::Agent) {
            // It has nothing downstream; it sends what it finds itself.
            let found = self.rows.get(key).map(|row| row.0);
            return Some(vec![(key.to_owned(), found, at)]);
        }
        Some(told)
    }

    /// The final contents of the changelog.
    fn check_changelog(&self, test: &mut TopologyTest) {
        let mut logged = BTreeMap::new();
        for record in test.take_raw("model-rows-changelog") {
            let key = String::from_utf8(record.key.unwrap().into()).unwrap();
            match record.value {
                Some(value) => {
                    let value = i64::from_be_bytes((*value).try_into().unwrap());
                    logged.insert(key, (value, record.timestamp));
                }
                None => drop(logged.remove(&key)),
            }
        }
        assert_eq!(logged, self.rows, "the changelog");
    }
}

/// The key, the advance of stream time, the record's lateness, and its value.
fn steps() -> impl Strategy<Value = Vec<(usize, i64, i64, Option<i64>)>> {
    let on = prop_oneof![4 => 0..4_i64, 1 => 0..30_i64];
    let behind = prop_oneof![4 => 0..3_i64, 1 => 0..40_i64];
    let value =
        prop_oneof![3 => (0..9_i64).prop_map(Some), 1 => Just(None), 1 => Just(Some(BROKEN))];
    prop::collection::vec((1..6_usize, on, behind, value), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tables_that_expire_match_a_naive_model(
        writer in prop::sample::select(&WRITERS), ttl in 1..20_i64, steps in steps(),
        mishaps in Mishaps::any(),
    ) {
        let mut test = TopologyTest::new(topology(writer, ttl));
        mishaps.begin(&mut test);
        let mut model = Model { writer, ttl, time: 0, rows: BTreeMap::new() };
        for (step, (key, on, behind, value)) in steps.into_iter().enumerate() {
            let key = "k".repeat(key);
            let at = (model.time + on - behind).max(0);
            mishaps.before(step, &mut test);
            test.send_record(&input(), Record::new(key.clone(), value, at)).unwrap();
            let before = model.clone();
            let told = model.arrive(&key, at, value);
            let found = test.take_records(&changes()).unwrap().into_iter();
            let found: Vec<Told> = found.map(|one| (one.key, one.value, one.timestamp)).collect();
            let seen = test.take(&seen()).unwrap();
            match told {
                None => {
                    // As if it had not arrived, its time included.
                    model = before;
                    prop_assert_eq!(found, vec![], "at step {}", step);
                    // An agent fails alone.
                    prop_assert!(seen.is_empty() || writer == Writer::Agent, "at step {}", step);
                }
                Some(told) => {
                    prop_assert_eq!(found, told, "at step {}", step);
                    if writer != Writer::Agent {
                        let own = model.rows.get(&key).map(|row| row.0);
                        let all = model.rows.iter().map(|(key, row)| (key.clone(), row.0));
                        prop_assert_eq!(seen, vec![(key, text(own, all))], "at step {}", step);
                    }
                }
            }
            let kept = test.table_rows(&rows(ttl)).unwrap().into_iter();
            let kept: Vec<_> = kept.map(|row| (row.key, (row.value, row.timestamp))).collect();
            prop_assert_eq!(kept, model.rows.clone().into_iter().collect::<Vec<_>>());
            if !matches!(writer, Writer::Processor | Writer::Agent) {
                let total = test.table(&totals(), &"all".to_owned()).unwrap().unwrap_or(0);
                prop_assert_eq!(total, model.rows.values().map(|row| row.0).sum::<i64>());
            }
        }
        model.check_changelog(&mut test);
    }
}

/// More rows than a record deletes itself; a reader in the same record sees none of them.
#[test]
fn many_rows_that_expire_at_once_disappear_at_once() {
    for writer in WRITERS {
        let mut test = TopologyTest::new(topology(writer, 10));
        for number in 0..1_200_i64 {
            test.queue(&input(), &Record::new(format!("k{number}"), Some(1), 5)).unwrap();
        }
        test.run().unwrap();
        test.take(&seen()).unwrap();
        test.take(&changes()).unwrap();
        test.send_record(&input(), Record::new("k7".to_owned(), Some(2), 15)).unwrap();
        if writer != Writer::Agent {
            let own = text(Some(2), [("k7".to_owned(), 2)].into_iter());
            assert_eq!(test.take(&seen()).unwrap(), [("k7".to_owned(), own)], "{writer:?}");
        }
        let gone = test.take_records(&changes()).unwrap();
        let told = if matches!(writer, Writer::Processor | Writer::Agent) { 1 } else { 1_201 };
        assert_eq!(gone.len(), told, "{writer:?}");
        assert_eq!(test.table_rows(&rows(10)).unwrap().len(), 1, "{writer:?}");
        test.crash().unwrap();
        assert_eq!(test.table_rows(&rows(10)).unwrap().len(), 1, "{writer:?}");
    }
}

/// Joins of the table, and joins that look up a row, have no expired row.
#[test]
fn what_a_failed_record_has_expired_expires_with_the_next() {
    let app = Builder::new("app");
    app.on_error(ErrorPolicy::Skip);
    let records = app.stream(&input()).flat_map_values(|value| value).shared();
    told(records.clone().to_table(&rows(10)));
    // The table has expired its rows when this one fails.
    let check = |value: i64| if value == 7 { Err("broken") } else { Ok(Some(value)) };
    records.try_map_values(check).to(&Topic::new("out"));
    let mut test = TopologyTest::new(app.build().unwrap());
    for (key, value, at) in [("a", 1, 0), ("b", 7, 100), ("b", 2, 100)] {
        test.send_record(&input(), Record::new(key.into(), Some(value), at)).unwrap();
    }
    let expected = [("a", Some(1)), ("b", Some(2)), ("a", None)];
    assert_eq!(test.take(&changes()).unwrap(), expected.map(|(key, n)| (key.to_owned(), n)));
}

#[test]
fn joins_lose_the_row_when_it_expires() {
    let app = Builder::new("t");
    let left = Topic::<String, i64>::new("left");
    let right = Topic::<String, i64>::new("right");
    let joined = Topic::new("joined");
    let asked = Topic::new("asked");
    let table = Table::<String, i64>::new("left").ttl(Duration::from_millis(10));
    let left_rows = app.table(&left, &table);
    let right_rows = app.table(&right, &Table::new("right"));
    left_rows.join(&right_rows, |_, a, b| a + b).to_stream().to(&joined);
    app.stream(&right)
        .left_join_table(&left_rows, |_, n, row| row.map_or(*n, |row| n + row))
        .to(&asked);
    let mut test = TopologyTest::new(app.build().unwrap());
    let record = |key: &str, n, at| Record::new(key.to_owned(), n, at);
    test.send_record(&left, record("a", 1, 0)).unwrap();
    test.send_record(&right, record("a", 20, 5)).unwrap();
    test.send_record(&left, record("b", 2, 9)).unwrap();
    test.send_record(&right, record("a", 30, 9)).unwrap();
    assert_eq!(
        test.take(&joined).unwrap(),
        [("a", 21), ("a", 31)].map(|(k, n)| (k.into(), Some(n)))
    );
    assert_eq!(test.take(&asked).unwrap(), [("a", 21), ("a", 31)].map(|(k, n)| (k.into(), n)));
    test.send_record(&left, record("b", 3, 10)).unwrap();
    test.send_record(&right, record("a", 40, 10)).unwrap();
    let gone = test.take_records(&joined).unwrap();
    assert_eq!(gone, [Record::new("a".to_owned(), None::<i64>, 10)]);
    assert_eq!(test.take(&asked).unwrap(), [("a".to_owned(), 40)]);
}

/// `updates()` has values only, so an expired row sends nothing. The aggregate starts from nothing.
#[test]
fn an_aggregate_starts_again() {
    let app = Builder::new("t");
    let numbers = Topic::<String, i64>::new("numbers");
    let out = Topic::<String, u64>::new("out");
    let counts = Table::new("counts").ttl(Duration::from_secs(60));
    app.stream(&numbers).group_by_key().count(&counts).to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    for seconds in [0, 59, 118, 178, 100, 237] {
        test.send_record(&numbers, Record::new("a".to_owned(), 1, seconds * 1_000)).unwrap();
    }
    let counts: Vec<u64> = test.take(&out).unwrap().into_iter().map(|(_, n)| n).collect();
    // At 178 s the row is 60 s old; the late record does not make it younger.
    assert_eq!(counts, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_description_says_when_rows_expire() {
    let description = topology(Writer::Stream, 7).describe().to_string();
    let line = "creates model-rows-changelog, the changelog of rows, whose rows expire after 7 ms";
    assert!(description.contains(line), "{description}");
}

#[test]
fn a_ttl_changes_nothing_that_an_upgrade_must_keep() {
    let shape = |table: Table<String, u64>| {
        let app = Builder::new("t");
        app.stream(&Topic::<String, i64>::new("in")).group_by_key().count(&table);
        app.build().unwrap().shape()
    };
    let table = Table::new("counts");
    assert_eq!(shape(table.clone()), shape(table.ttl(Duration::from_secs(1))));
}

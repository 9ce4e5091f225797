//! Processors read rows by range and by prefix, a few at a time, and tables that others write.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use headwater::prelude::*;
use headwater_testkit::TopologyTest;

type Keys = (Bound<u64>, Bound<u64>);

fn every_kind_of_bound() -> Vec<Keys> {
    use Bound::{Excluded, Included, Unbounded};
    let ends = [Unbounded, Included(900), Excluded(900), Included(100), Excluded(99)];
    let with_ends = |from| ends.map(|to| (from, to));
    [Unbounded, Included(100), Excluded(100)].into_iter().flat_map(with_ends).collect()
}

/// `rows` puts and deletes rows. Each record of `asks` gets the keys in the range with that number,
/// at most as many as it says.
fn topology() -> Topology {
    let rows = Topic::<u64, Option<String>>::new("rows");
    let asks = Topic::<u64, u64>::new("asks");
    let kept = Table::<u64, String>::new("kept");
    let app = Builder::new("ranges");
    let table = kept.clone();
    let writer = app.stream(&rows).process::<u64, u64>("write").table(&kept);
    let _ = writer.each(move |row, cx| match row.value {
        Some(value) => cx.table(&table)?.put(&row.key, &value),
        None => cx.table(&table)?.delete(&row.key),
    });
    let reader = app.stream(&asks).process::<u64, u64>("read").reads(&kept);
    let answers = reader.each(move |ask, cx| {
        let keys = every_kind_of_bound()[ask.key as usize];
        let mut found = Vec::new();
        for row in cx.table(&kept)?.range(keys)?.take(ask.value as usize) {
            let (key, value) = row?;
            assert_eq!(value, format!("row {key}"));
            found.push(key);
        }
        found.into_iter().try_for_each(|key| cx.forward(Record::new(ask.key, key, 0)))
    });
    answers.to(&Topic::new("found"));
    app.build().unwrap()
}

/// More rows than fit on a page; some are written again, and some are deleted.
#[test]
fn ranges_are_those_of_a_sorted_map() {
    let rows = Topic::<u64, Option<String>>::new("rows");
    let asks = Topic::<u64, u64>::new("asks");
    let mut test = TopologyTest::new(topology());
    let mut model = BTreeMap::new();
    for number in 0..1_500_u64 {
        let key = number * 7_919 % 1_000;
        let value = (number % 7 != 0).then(|| format!("row {key}"));
        match &value {
            Some(value) => model.insert(key, value.clone()),
            None => model.remove(&key),
        };
        test.send(&rows, key, value).unwrap();
    }
    for (number, keys) in every_kind_of_bound().into_iter().enumerate() {
        for limit in [1_u64, 300, 2_000] {
            test.send(&asks, number as u64, limit).unwrap();
            let found = test.take(&Topic::<u64, u64>::new("found")).unwrap();
            let found: Vec<u64> = found.into_iter().map(|(_, key)| key).collect();
            let within = model.keys().copied().filter(|key| keys.contains(key));
            assert_eq!(found, within.take(limit as usize).collect::<Vec<_>>(), "{keys:?}");
        }
    }
}

/// Writes since the commit are visible too.
#[test]
fn rows_of_the_store_and_of_the_transaction_are_one_range() {
    let app = Builder::new("t");
    let words = Topic::<String, i64>::new("words");
    let kept = Table::<String, i64>::new("kept");
    let process = app.stream(&words).process::<String, i64>("p").table(&kept);
    let sums = process.each(move |word, cx| {
        let mut table = cx.table(&kept)?;
        table.put(&word.key, &word.value)?;
        table.put(&format!("{}b", word.key), &word.value)?;
        table.delete(&format!("{}c", word.key))?;
        table.put(&format!("{}c", word.key), &word.value)?;
        table.delete(&format!("{}b", word.key))?;
        let rows = table.prefix("a").collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().try_for_each(|(key, n)| cx.forward(Record::new(key, n, 0)))
    });
    let out = Topic::<String, i64>::new("out");
    sums.to(&out);
    let mut test = TopologyTest::new(app.build().unwrap());
    test.send(&words, "a".into(), 1).unwrap();
    test.send(&words, "b".into(), 2).unwrap();
    test.take(&out).unwrap();
    test.send(&words, "aa".into(), 3).unwrap();
    let expected = [("a", 1), ("aa", 3), ("aac", 3), ("ac", 1)];
    assert_eq!(test.take(&out).unwrap(), expected.map(|(key, n)| (key.to_owned(), n)));
}

#[test]
fn a_table_that_is_only_read_is_not_written() {
    let app = Builder::new("t");
    let orders = Topic::<String, i64>::new("orders");
    let seen = Table::<String, u64>::new("seen");
    app.stream(&orders).group_by_key().count(&seen);
    let table = seen.clone();
    let process = app.stream(&orders).process::<String, i64>("p").reads(&seen);
    let _ = process.each(move |order, cx| cx.table(&table)?.put(&order.key, &0));
    let mut test = TopologyTest::new(app.build().unwrap());
    let error = test.send(&orders, "a".into(), 1).unwrap_err().to_string();
    assert!(error.contains("the table seen is only read here"), "{error}");
}

/// Only the join can read what it stores.
#[test]
fn tables_without_rows_for_the_reader_are_refused_before_the_start() {
    let app = Builder::new("t");
    let orders = Topic::<String, i64>::new("orders");
    let minute = Duration::from_secs(60);
    let buffers = JoinBuffers::json("pairs");
    let shared = app.stream(&orders).shared();
    let joined =
        shared.clone().join(shared, JoinWindows::within(minute), &buffers, |_, a, b| a + b);
    joined.to(&Topic::new("joined"));
    let pairs = Table::<String, i64>::new("pairs-left");
    let process = app.stream(&orders).process::<String, i64>("p").reads(&pairs);
    process.each(|_, _| Ok(())).to(&Topic::new("nowhere"));
    app.agent("a", &orders).reads(&pairs).run(|_, _| async { Ok(()) });
    let error = app.build().err().unwrap().to_string();
    let hint = "the processor p reads the table pairs-left, whose keys are keys and times";
    assert!(error.contains(hint), "{error}");
}

#[test]
fn an_undeclared_table() {
    let app = Builder::new("t");
    let orders = Topic::<String, i64>::new("orders");
    let seen = Table::<String, u64>::new("seen");
    let process = app.stream(&orders).process::<String, i64>("p");
    let _ = process.each(move |order, cx| cx.table(&seen)?.put(&order.key, &0));
    let mut test = TopologyTest::new(app.build().unwrap());
    let error = test.send(&orders, "a".into(), 1).unwrap_err().to_string();
    assert!(error.contains("add .table(&seen), or .reads(&seen)"), "{error}");
}

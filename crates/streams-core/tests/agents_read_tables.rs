//! Agents read ranges of rows and windows of a key, including their own writes for the current
//! record. They read an expiring table as of that record's time.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use headwater::prelude::*;
use headwater_testkit::TopologyTest;

fn numbers() -> Topic<u64, i64> {
    Topic::new("numbers")
}

fn out() -> Topic<u64, String> {
    Topic::new("out")
}

fn kept() -> Table<u64, i64> {
    Table::new("kept")
}

/// The rows of the store, of the transaction and of the current record form one range.
#[test]
fn ranges_include_what_the_agent_has_just_written() {
    let app = Builder::new("t");
    let agent = app.agent("a", &numbers()).writes(&kept()).sends(&out());
    agent.run(|mut records: Records<u64, i64>, cx: Context| async move {
        while let Some(Record { key, value, .. }) = records.next().await {
            let rows = kept();
            let rows = cx.table(&rows);
            for number in 0..value as u64 {
                rows.put(&(key + number), &value)?;
            }
            rows.delete(&key)?;
            let all = rows.range(..)?.collect::<Result<Vec<_>, _>>()?;
            let some = rows.range(key..=key + 2)?.collect::<Result<Vec<_>, _>>()?;
            let first = rows.prefix([0; 7])?.next().transpose()?;
            cx.send(&out(), key, format!("{} {some:?} {first:?}", all.len()))?;
        }
        Ok(())
    });
    let mut test = TopologyTest::new(app.build().unwrap());
    for (key, count) in [(10, 400), (1_000, 3), (400, 20)] {
        test.send(&numbers(), key, count).unwrap();
    }
    let found: Vec<_> = test.take(&out()).unwrap().into_iter().map(|(_, text)| text).collect();
    let expected = [
        "399 [(11, 400), (12, 400)] Some((11, 400))",
        "401 [(1001, 3), (1002, 3)] Some((11, 400))",
        "410 [(401, 20), (402, 20)] Some((11, 400))",
    ];
    assert_eq!(found, expected);
}

#[test]
fn windows_of_a_key_are_read_and_errors_name_the_right_method() {
    let app = Builder::new("t");
    let windowed = Table::<u64, u64>::new("windowed");
    let plain = Table::<u64, u64>::new("plain");
    let windows = Tumbling::of(Duration::from_millis(10)).retention(Duration::from_millis(50));
    app.stream(&numbers()).group_by_key().window(windows).count(&windowed);
    app.stream(&numbers()).group_by_key().count(&plain);
    let agent = app.agent("a", &numbers()).reads(&windowed).reads(&plain).sends(&out());
    agent.run(move |mut records: Records<u64, i64>, cx: Context| {
        let windowed = windowed.clone();
        let plain = plain.clone();
        async move {
            while let Some(Record { key, timestamp, .. }) = records.next().await {
                let mut found = Vec::new();
                for window in cx.table(&windowed).windows(&key, timestamp - 20..=timestamp)? {
                    let (window, count) = window?;
                    found.push((window.start, count));
                }
                cx.send(&out(), key, format!("{found:?}"))?;
                let error = cx.table(&windowed).get(&key).unwrap_err().to_string();
                assert!(error.contains("read them with windows(&key, from..to)"), "{error}");
                let error = cx.table(&plain).windows(&key, ..).err().unwrap().to_string();
                assert!(error.contains("read it with get, range or prefix"), "{error}");
            }
            Ok(())
        }
    });
    let mut test = TopologyTest::new(app.build().unwrap());
    for at in [5, 6, 14, 38, 27] {
        test.send_record(&numbers(), Record::new(7, 1, at)).unwrap();
    }
    let found: Vec<_> = test.take(&out()).unwrap().into_iter().map(|(_, text)| text).collect();
    let expected = [
        "[(0, 1)]",
        "[(0, 2)]",
        "[(0, 2), (10, 1)]",
        "[(10, 1), (30, 1)]",
        // Too late for its own window.
        "[(0, 2), (10, 1)]",
    ];
    assert_eq!(found, expected);
}

/// Each id once in ten milliseconds: the current record counts before it is acknowledged.
#[test]
fn rows_expire_by_the_current_record() {
    let app = Builder::new("t");
    let seen = || kept().ttl(Duration::from_millis(10));
    let agent = app.agent("once", &numbers()).writes(&seen()).sends(&out());
    agent.run(move |mut records: Records<u64, i64>, cx: Context| async move {
        while let Some(Record { key, timestamp, .. }) = records.next().await {
            let rows = seen();
            let rows = cx.table(&rows);
            if rows.get(&key)?.is_none() {
                rows.put(&key, &timestamp)?;
                let there = rows.range(..)?.collect::<Result<Vec<_>, _>>()?;
                cx.send(&out(), key, format!("{there:?}"))?;
            }
        }
        Ok(())
    });
    let mut test = TopologyTest::new(app.build().unwrap());
    for (key, at) in [(1, 0), (1, 9), (2, 9), (1, 10), (1, 12), (3, 30)] {
        test.send_record(&numbers(), Record::new(key, 0, at)).unwrap();
    }
    let found: Vec<_> = test.take(&out()).unwrap().into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, ["[(1, 0)]", "[(1, 0), (2, 9)]", "[(1, 10), (2, 9)]", "[(3, 30)]"]);
    assert_eq!(test.table_rows(&seen()).unwrap().len(), 1);
    test.crash().unwrap();
    assert_eq!(test.table_rows(&seen()).unwrap().len(), 1);
}

//! Records that come too late for their window are counted and logged, with their position, the
//! table and its stream time, but not one by one.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater::prelude::*;
use support::{Instances, embedded, soon};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_place_of_the_last_one() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_env_filter("warn")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let (config, client) = embedded();
    client.create_topic("late-clicks", 1).unwrap();
    client.create_topic("late-counts", 1).unwrap();
    let clicks = Topic::<String, i64>::new("late-clicks");
    let topology = || {
        let app = Builder::new("late");
        let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
        app.stream(&Topic::<String, i64>::new("late-clicks"))
            .group_by_key()
            .window(minutes)
            .count(&Table::new("per-minute"))
            .closed()
            .map(|window, count| (window.key, count))
            .to(&Topic::<String, u64>::new("late-counts"));
        app.build().unwrap()
    };
    let mut app = Instances::new(topology, config);
    app.start();
    let mut writer = client.writer().unwrap();
    writer.send(&clicks, &"page".to_owned(), &1, 500_000).unwrap();
    // Over more than a second: longer than the status waits between two looks.
    for part in 1..=10 {
        for late in 0..100 {
            writer.send(&clicks, &"page".to_owned(), &1, 7_000 + late).unwrap();
        }
        writer.flush().unwrap();
        let dropped = || app.status()[0].totals.dropped_late;
        soon("they are dropped", Duration::from_secs(20), || dropped() == part * 100).await;
    }
    app.stop_all().await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<_> = text.lines().filter(|line| line.contains("records dropped")).collect();
    assert!((1..=3).contains(&said.len()), "{text}");
    let count = |line: &&str| {
        let records = line.split("records=").nth(1)?.split(' ').next()?;
        records.parse::<u64>().ok()
    };
    assert_eq!(said.iter().filter_map(count).sum::<u64>(), 1_000, "{text}");
    let first = said[0];
    for part in ["per-minute", "late-clicks-0 offset ", "stream time 500000", "topic=late-clicks"] {
        assert!(first.contains(part), "no {part:?} in {first}");
    }
}

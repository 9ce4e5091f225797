//! Windowed counts.

use std::sync::Arc;
use std::time::Duration;

use streams_core::codec::Text;
use streams_core::window::TimeWindowed;
use streams_core::{Builder, Hopping, Session, Table, Topic, Tumbling, Windowed};
use testkit::Dice;

use crate::driver::Driver;
use crate::feed::EncodedRecords;
use crate::workload::{Workload, WorkloadKind};

const RECORDS: usize = 2_000;
const KEYS: usize = 200;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn kinds() -> Vec<WorkloadKind> {
    const N: u64 = RECORDS as u64;
    vec![
        WorkloadKind::counted("windows/tumbling_updates", N, tumbling_updates),
        // Each round closes two windows of nearly all keys.
        WorkloadKind::counted("windows/tumbling_closed", N, tumbling_closed),
        WorkloadKind::counted("windows/hopping_updates", N, hopping_updates),
        WorkloadKind::counted("windows/session_closed", N, || session_closed(RECORDS)),
    ]
}

fn clicks() -> Topic<u64, u64> {
    Topic::new("clicks")
}

/// A record each millisecond: by itself a round is two seconds of stream time.
fn records(count: usize) -> Arc<EncodedRecords> {
    let mut dice = Dice::new(21);
    let record = |at| (dice.below(KEYS) as u64, 1, at as i64);
    EncodedRecords::of(&clicks(), (0..count).map(record))
}

fn out() -> Topic<Windowed<u64>, u64> {
    Topic::with("out", TimeWindowed::<u64>::of(Tumbling::of(SECOND)), Text)
}

fn tumbling_updates() -> Box<dyn Workload> {
    let app = Builder::new("windows");
    let windows = app.stream(&clicks()).group_by_key().window(Tumbling::of(SECOND));
    windows.count(&Table::new("counts")).updates().to(&out());
    rounds(app, RECORDS)
}

fn tumbling_closed() -> Box<dyn Workload> {
    let app = Builder::new("windows");
    let windows = app.stream(&clicks()).group_by_key().window(Tumbling::of(SECOND));
    windows.count(&Table::new("counts")).closed().to(&out());
    rounds(app, RECORDS)
}

fn hopping_updates() -> Box<dyn Workload> {
    let app = Builder::new("windows");
    let five = Hopping::of(SECOND, SECOND / 5);
    let windows = app.stream(&clicks()).group_by_key().window(five);
    windows.count(&Table::new("counts")).updates().to(&out());
    rounds(app, RECORDS)
}

/// Sessions, with a commit after this many records.
pub fn session_closed(records: usize) -> Box<dyn Workload> {
    let app = Builder::new("windows");
    // A key comes five times a second: sessions of a few records.
    let windows = app.stream(&clicks()).group_by_key().window(Session::of(SECOND / 5));
    let counts = windows.count(&Table::new("counts")).closed();
    counts.map(|window, n| (window.key, n)).to(&Topic::new("out"));
    rounds(app, records)
}

fn rounds(app: Builder, count: usize) -> Box<dyn Workload> {
    let mut task = Driver::new(app.build().expect("a topology"));
    let records = records(count);
    let mut later_ms = 0;
    let mut run = move || {
        task.feed(0, &records, later_ms);
        assert!(task.run() > 0, "results come out");
        task.commit();
        later_ms += count as i64;
    };
    // Until as many windows close as open.
    (0..5).for_each(|_| run());
    Box::new(run)
}

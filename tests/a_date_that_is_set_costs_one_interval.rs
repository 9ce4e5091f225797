//! A machine's date is set while an application runs, or between two runs: punctuations, windows of
//! idle input and batches continue as if nothing had happened.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use headwater::Topology;
use headwater::agents::Records;
use headwater::prelude::*;
use headwater::topics::Timestamp;
use runtime::manual::{ManualApp, ManualAppParts};
use runtime::{Clock, ManualClock};
use testkit::faults::SurvivingStores;

const NOON: Timestamp = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const SECOND: Duration = Duration::from_secs(1);

/// Time passes for everyone, but one instance gets a wrong date.
#[derive(Clone, Debug)]
struct Machine {
    time: ManualClock,
    date_off: Arc<AtomicI64>,
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        self.time.now() + self.date_off.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.time.sleep(time);
    }
}

fn topic(id: &str, name: &str) -> Topic<String, i64> {
    Topic::new(format!("{id}-{name}"))
}

/// Ticks once a second; counts minutes that close after five idle seconds; sums up batches of two
/// seconds.
fn topology(id: &str) -> Topology {
    let app = Builder::new(id);
    let input = app.stream(&topic(id, "in")).shared();
    let ticker = input.clone().process::<String, i64>("ticker");
    let ticks = ticker.on_wall_clock(SECOND, |now, context| {
        context.forward(Record::new("tick".to_owned(), 1, now))
    });
    ticks.each(|_, _| Ok(())).to(&topic(id, "ticks"));
    let minutes = Tumbling::of(60 * SECOND).idle_after(5 * SECOND);
    let counts = input.group_by_key().window(minutes).count(&Table::new("counts"));
    counts.closed().map(|window, n| (window.key, n as i64)).to(&topic(id, "minutes"));
    let batches = topic(id, "batches");
    let sums = batches.clone();
    app.agent("adds", &topic(id, "in")).sends(&batches).run(
        move |mut numbers: Records<String, i64>, cx| {
            let sums = sums.clone();
            async move {
                loop {
                    let batch = numbers.take(100, 2 * SECOND).await;
                    let sum = batch.iter().map(|record| record.value).sum();
                    cx.send(&sums, "sum".to_owned(), sum)?;
                }
            }
        },
    );
    app.build().expect("valid")
}

struct Application {
    id: String,
    config: Config,
    client: Client,
    machine: Machine,
    app: Option<ManualApp>,
}

impl Application {
    fn new() -> Self {
        let (config, client) = support::embedded();
        let id = support::unique("date");
        for name in ["in", "ticks", "minutes", "batches"] {
            let name = topic(&id, name).name().to_owned();
            client.create_topic_with(&name, 1, &[("retention.ms", "-1")]).expect("created");
        }
        let machine = Machine { time: ManualClock::new(NOON), date_off: Arc::default() };
        let mut new = Self { id, config, client, machine, app: None };
        new.start();
        new
    }

    /// Another run.
    fn start(&mut self) {
        self.app = None;
        let started = ManualApp::start(ManualAppParts {
            topology: Arc::new(topology(&self.id)),
            transport: headwater::connect(&self.config).expect("a log"),
            config: self.config.clone(),
            stores: Arc::new(SurvivingStores::default()),
            clock: Arc::new(self.machine.clone()),
        });
        self.app = Some(started.expect("starts"));
        // Until it has its tasks.
        self.run(10);
    }

    /// Lets this many tenths of a second pass.
    fn run(&mut self, tenths: u32) {
        let app = self.app.as_mut().expect("it runs");
        for _ in 0..tenths {
            (0..app.components()).for_each(|component| app.turn(component).expect("goes on"));
            self.machine.time.advance(SECOND / 10);
        }
    }

    fn set_date(&self, off: i64) {
        self.machine.date_off.store(off, Ordering::Relaxed);
    }

    fn feed(&self, timestamp: Timestamp) {
        let mut writer = self.client.writer().expect("a writer");
        writer.deliver(&topic(&self.id, "in"), &"a".to_owned(), &1, timestamp).expect("fed");
    }

    fn count(&self, name: &str) -> usize {
        let mut reader = self.client.reader(&topic(&self.id, name)).expect("a reader");
        let mut count = 0;
        while reader.next(Duration::from_millis(100)).expect("reads").is_some() {
            count += 1;
        }
        count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_runs() {
    for off in [-HOUR, HOUR] {
        let mut application = Application::new();
        let before = application.count("ticks");
        // The minute of this record ends in 20 s.
        application.feed(NOON - NOON % 60_000 + 40_000);
        application.run(5);
        application.set_date(off);
        application.run(40);
        let ticks = application.count("ticks") - before;
        assert!((4..=5).contains(&ticks), "{ticks} in 4.5 s, the date is off by {off} ms");
        assert_eq!(application.count("batches"), 1);
        assert_eq!(application.count("minutes"), 0, "closed by the date");
        application.run(200);
        assert_eq!(application.count("minutes"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_next_life() {
    for off in [-HOUR, HOUR] {
        let mut application = Application::new();
        application.run(50);
        application.set_date(off);
        application.start();
        let before = application.count("ticks");
        application.run(50);
        let ticks = application.count("ticks") - before;
        assert!((4..=6).contains(&ticks), "{ticks} in 5 s, the date is off by {off} ms");
    }
}

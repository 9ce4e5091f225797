//! Streams of ticks: actions at an interval or by the calendar, without an input record.

use std::time::Duration;

use super::Stream;
use crate::builder::Builder;
use crate::chain::Chain;
use crate::receive::Receive;
use crate::schedule::Schedule;
use crate::tick::{Missed, Tick};
use crate::topology::NodeId;
use crate::window::millis;

/// The start of a chain: ticks.
pub struct Ticks {
    index: usize,
    missed: Missed,
}

impl Builder {
    /// Creates a stream of ticks at an interval, once for the application however many instances
    /// run. Their key is `name`.
    ///
    /// The first tick comes one interval after the application's first start. The effects of a tick
    /// are committed with it in one transaction, so crashes, aborts and changing instances neither
    /// lose nor repeat a tick. [`missed`](Stream::missed) sets what happens to ticks that are due
    /// while no instance runs. By default, only the last of them is made up for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let beats = Topic::<String, i64>::new("beats");
    /// let app = Builder::new("example");
    /// app.every("heart", Duration::from_secs(60)).map_values(|tick| tick.time).to(&beats);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// for _ in 0..3 {
    ///     test.advance(Duration::from_secs(50))?;
    /// }
    /// let times = [60_000, 120_000].map(|time| ("heart".to_owned(), time));
    /// assert_eq!(test.take(&beats)?, times);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The ticks have one partition of their own, so one instance has them at a time. It is the
    /// topic `{application id}-{name}-ticks`, which the runtime creates and which stays empty. A
    /// processor after the ticks has its own tables in that partition. It has no access to streams
    /// and tables with more partitions: send data for them to a topic or through
    /// [`repartition`](Stream::repartition), or use [ticks in each of their tasks](Stream::every).
    ///
    /// A monotonic clock measures the interval. If the date is set, the times of the ticks follow
    /// it by whole intervals. Times always increase: while the date would take them back, each tick
    /// is one millisecond after the previous one.
    ///
    /// If user code fails on a tick, the [error policy](Builder::on_error) decides. The tick is not
    /// retried: for `Retry`, the policy in `then` decides. Its dead letter has the tick as JSON.
    pub fn every(&self, name: &str, interval: Duration) -> Stream<'_, String, Tick, Ticks> {
        ticks(self, name, at_interval(interval), None)
    }

    /// Creates a stream of ticks by a cron expression in a time zone, once for the application
    /// however many instances run; otherwise like [`every`](Builder::every).
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::{Builder, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let reports = Topic::<String, i64>::new("reports");
    /// let app = Builder::new("example");
    /// app.cron("nightly", "0 0 3 * * *", "Europe/Berlin")
    ///     .map_values(|tick| (tick.time - tick.previous) / 3_600_000)
    ///     .to(&reports);
    ///
    /// // It is 2024-03-29T12:00:00Z; in the night to the 31st clocks are put forward.
    /// let mut test = TopologyTest::new(app.build()?).at(1_711_713_600_000);
    /// for _ in 0..3 {
    ///     test.advance(Duration::from_secs(24 * 60 * 60))?;
    /// }
    /// let hours = [14, 23, 24].map(|hours| ("nightly".to_owned(), hours));
    /// assert_eq!(test.take(&reports)?, hours);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The expression has six fields: second, minute, hour, day of the month, month, day of the
    /// week. With five fields, the second is 0. A field is `*`, or a list of values, ranges
    /// (`9-17`) and steps (`*/5`, `9-17/2`). Months and days of the week have names (`JAN`, `MON`),
    /// Sunday is 0 or 7, and `L` is the last day of a month. If both the day of the month and the
    /// day of the week are restricted, a date needs to match only one of them. `zone` is a name of
    /// the IANA database, which is compiled in, such as `Europe/Berlin` or `UTC`.
    /// [`build`](Builder::build) reports what is wrong with either.
    ///
    /// **When clocks go forward or back.** If the expression restricts hours, each local time
    /// happens once: a skipped time happens at the jump, and a repeated time the first time. If it
    /// leaves the hours open (`*`, `*/2`), it follows elapsed time: skipped times do not happen,
    /// and repeated times happen twice.
    ///
    /// **If the date is set** forward, the ticks in between are missed. If it is set back by at
    /// most one interval, nothing happens until the old date is reached again, so no tick comes
    /// twice. If it is set back further, the ticks continue by the new date, with times that still
    /// increase.
    pub fn cron(
        &self,
        name: &str,
        expression: &str,
        zone: &str,
    ) -> Stream<'_, String, Tick, Ticks> {
        ticks(self, name, by_calendar(expression, zone), None)
    }
}

impl<'b, K: 'static, V: 'static, C: Chain<Key = K, Value = V>> Stream<'b, K, V, C> {
    /// Creates a stream of ticks at an interval in each task of this stream, that is, per
    /// partition; otherwise like [`Builder::every`]. The ticks run in the same task as the records,
    /// so a processor may read the tables that the records write. Their key is `name` in every
    /// partition.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::{Builder, Record, Table, Topic};
    /// use headwater_testkit::TopologyTest;
    /// let words = Topic::<String, i64>::new("words");
    /// let sizes = Topic::<String, u64>::new("sizes");
    /// let counts = Table::<String, u64>::new("counts");
    /// let app = Builder::new("example");
    /// let input = app.stream(&words);
    /// let ticks = input.every("size", Duration::from_secs(1));
    /// input.group_by_key().count(&counts);
    /// let table = counts.clone();
    /// ticks
    ///     .process::<String, u64>("measure")
    ///     .reads(&counts)
    ///     .each(move |tick, context| {
    ///         let size = context.table(&table)?.entries()?.len() as u64;
    ///         context.forward(Record::new(tick.key, size, tick.timestamp))
    ///     })
    ///     .to(&sizes);
    ///
    /// let mut test = TopologyTest::with_partitions(app.build()?, &[("words", 2)]);
    /// for word in ["a", "b", "c", "d"] {
    ///     test.send(&words, word.to_owned(), 1)?;
    /// }
    /// test.advance(Duration::from_secs(1))?;
    /// let sizes = test.take(&sizes)?;
    /// assert_eq!(sizes.len(), 2);
    /// assert_eq!(sizes.iter().map(|(_, size)| size).sum::<u64>(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn every(&self, name: &str, interval: Duration) -> Stream<'b, String, Tick, Ticks> {
        ticks(self.builder, name, at_interval(interval), Some(self.node))
    }

    /// Creates a stream of ticks by a cron expression in each task of this stream; see
    /// [`Builder::cron`] and [`Stream::every`].
    ///
    /// ```
    /// use headwater::{Builder, Topic};
    /// let orders = Topic::<String, i64>::new("orders");
    /// let app = Builder::new("example");
    /// let input = app.stream(&orders);
    /// let hourly = input.cron("hourly", "0 0 * * * *", "UTC");
    /// hourly.map_values(|tick| tick.time).to(&Topic::new("hours"));
    /// input.to(&Topic::new("copies"));
    /// let topology = app.build()?;
    /// # Ok::<(), headwater::errors::BuildError>(())
    /// ```
    pub fn cron(
        &self,
        name: &str,
        expression: &str,
        zone: &str,
    ) -> Stream<'b, String, Tick, Ticks> {
        ticks(self.builder, name, by_calendar(expression, zone), Some(self.node))
    }
}

impl Stream<'_, String, Tick, Ticks> {
    /// Sets what happens to ticks that were due while no instance ran. Default: [`Missed::One`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use headwater::{Builder, Topic};
    /// use headwater::streams::Missed;
    /// use headwater_testkit::TopologyTest;
    /// let hours = Topic::<String, i64>::new("hours");
    /// let app = Builder::new("example");
    /// let ticks = app.every("hourly", Duration::from_secs(3600)).missed(Missed::All);
    /// ticks.map_values(|tick| tick.time / 3_600_000).to(&hours);
    ///
    /// let mut test = TopologyTest::new(app.build()?);
    /// test.advance(Duration::from_secs(3 * 3600))?;
    /// assert_eq!(test.take(&hours)?, [1, 2, 3].map(|hour| ("hourly".to_owned(), hour)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn missed(mut self, missed: Missed) -> Self {
        self.chain.missed = missed;
        self
    }
}

impl Chain for Ticks {
    type Key = String;
    type Value = Tick;

    fn connect(self, next: impl Receive<String, Tick>, builder: &Builder) {
        builder.graph(|graph| {
            let ticks = &mut graph.ticks[self.index];
            ticks.missed = self.missed;
            ticks.next = Some(Box::new(next));
        });
    }
}

/// When ticks are due.
struct DescribedSchedule {
    /// For the description of the topology.
    description: String,
    /// The schedule, or what is wrong with it.
    schedule: Result<Schedule, String>,
}

fn at_interval(interval: Duration) -> DescribedSchedule {
    let ms = millis(interval);
    let too_often = || "the interval must be at least 1 ms".to_owned();
    let schedule = if ms < 1 { Err(too_often()) } else { Ok(Schedule::Every(ms)) };
    DescribedSchedule { description: format!("every {interval:?}"), schedule }
}

fn by_calendar(expression: &str, zone: &str) -> DescribedSchedule {
    DescribedSchedule {
        description: format!("by {expression:?} in {zone:?}"),
        schedule: Schedule::cron(expression, zone),
    }
}

fn ticks<'b>(
    builder: &'b Builder,
    name: &str,
    due: DescribedSchedule,
    parent: Option<NodeId>,
) -> Stream<'b, String, Tick, Ticks> {
    let (index, node) = builder.graph(|graph| {
        let index = graph.add_ticks(name, due.description, due.schedule, parent);
        (index, graph.ticks[index].node)
    });
    let stream = Stream::new(builder, Ticks { index, missed: Missed::default() }, node);
    // Each task has the same key.
    if parent.is_some() { stream.rekeyed() } else { stream }
}

//! Streams of ticks: what happens at an interval or by the calendar, without any record.

use std::time::Duration;

use super::Stream;
use crate::builder::Builder;
use crate::chain::Chain;
use crate::receive::Receive;
use crate::schedule::Schedule;
use crate::tick::{Missed, Tick};
use crate::topology::NodeId;
use crate::window::millis;

/// The beginning of a chain: ticks.
pub struct Ticks {
    index: usize,
    missed: Missed,
}

impl Builder {
    /// Ticks at an interval, once for the application however many instances run. Their key is
    /// `name`.
    ///
    /// The first one comes an interval after the application first started. What a tick causes is
    /// committed with the tick, in one transaction: crashes, aborts and instances that come and go
    /// lose none and repeat none. What becomes of those that are due while no instance runs is said
    /// by [`missed`](Stream::missed); by default, the last one of them is made up for.
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
    /// The ticks are one partition of their own, so that one instance has them at a time: the topic
    /// `{application id}-{name}-ticks`, which the runtime creates, and which stays empty. A
    /// processor behind them has tables of its own there. Streams and tables of more partitions are
    /// not at hand: send what is for them to a topic or through
    /// [`repartition`](Stream::repartition), or have [ticks in each of their
    /// tasks](Stream::every).
    ///
    /// The interval is measured by a clock that nobody sets. If the date is set, the times of the
    /// ticks follow it by whole intervals, and while that would take them back, each tick has the
    /// time of the last one and a millisecond: times always increase.
    ///
    /// A tick on which user code fails is dealt with by the [error policy](Builder::on_error). It
    /// is not tried again: where records are, `then` decides. Its dead letter has the tick as JSON.
    pub fn every(&self, name: &str, interval: Duration) -> Stream<'_, String, Tick, Ticks> {
        ticks(self, name, at_interval(interval), None)
    }

    /// Ticks by a cron expression and the clocks of a time zone, once for the application however
    /// many instances run; otherwise as [`every`](Builder::every).
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
    /// week; or the last five of them, and the second is 0. A field is `*`, or a list of values,
    /// ranges (`9-17`) and steps (`*/5`, `9-17/2`); months and days of the week have names (`JAN`,
    /// `MON`), Sunday is 0 or 7, and `L` is the last day of a month. Where both days of the month
    /// and days of the week are chosen, either is enough. `zone` is a name of the IANA database,
    /// which is compiled in, such as `Europe/Berlin` or `UTC`. What is wrong with either is a
    /// problem of [`build`](Builder::build).
    ///
    /// **When clocks are put forward or back.** If the expression chooses hours, each local time
    /// happens once: one that clocks jump over, at the jump; one that they show twice, the first
    /// time. If it leaves the hours open (`*`, `*/2`), it goes on as time does: nothing for what
    /// was jumped over, twice what comes twice.
    ///
    /// **If the date is set** forth, what it passes over was missed. If it is set back by not more
    /// than one interval, nothing happens until it has come again: no tick comes twice. If by more,
    /// the ticks go on by the new date, with times that still increase.
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
    /// Ticks at an interval in each task of this stream, which is one for each partition; otherwise
    /// as [`Builder::every`]. They belong to the same task as the records: a processor may read
    /// the tables that the records write. Their key is `name`, in every partition.
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

    /// Ticks by a cron expression and the clocks of a time zone in each task of this stream: see
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
    /// What becomes of ticks that were due while no instance ran. Default: [`Missed::One`].
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
    /// In words.
    description: String,
    /// The schedule, or what is wrong with it.
    schedule: Result<Schedule, String>,
}

fn at_interval(interval: Duration) -> DescribedSchedule {
    let ms = millis(interval);
    let too_often = || "once in a millisecond is the most".to_owned();
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

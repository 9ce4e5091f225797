//! Measures a program from outside, while it works through its input: the offsets that its group
//! commits, the end of its output, and `/proc`.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;

use crate::Result;
use crate::cluster::RaceCluster;
use crate::instances::{Instances, random};
use crate::process::{cpu_seconds, machine_seconds};
use crate::run::Figures;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const OUTPUT_EVERY_S: f64 = 0.1;
/// The output must have stood still for so long.
const SETTLED_S: f64 = 1.5;
/// Output that comes so much later than the last commit belongs to the work.
const OUTPUT_AFTER_S: f64 = 0.25;
const DONE_WITHIN_S: f64 = 600.0;
/// A kill comes up to so much after it is due, anywhere between two commits.
const KILL_DELAYED: Duration = Duration::from_millis(100);

pub(crate) struct Watched<'a> {
    pub(crate) cluster: &'a RaceCluster,
    pub(crate) broker_pid: u32,
    pub(crate) group: &'a str,
    pub(crate) inputs: &'a [&'a str],
    /// How many records of them were committed before.
    pub(crate) done: i64,
    pub(crate) output: &'a str,
    /// How often an instance is killed on the way.
    pub(crate) kills: usize,
}

impl Watched<'_> {
    /// Returns when the whole input is committed and the output has come to its end.
    pub(crate) fn watch(&self, instances: &mut Instances<'_>) -> Result<Measured> {
        let mut watch = Watch::new(self)?;
        let mut kills = Kills::new(self.kills);
        while !watch.is_over() {
            watch.look(instances)?;
            if watch.done.is_none() && kills.is_due(watch.progress()) {
                std::thread::sleep(KILL_DELAYED.mul_f64(random()));
                instances.kill_one()?;
            }
            if watch.now() > DONE_WITHIN_S {
                return Err(format!("not done in {DONE_WITHIN_S} s").into());
            }
            if instances.has_one_ended()? {
                return Err("it ended by itself".into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let measured = watch.measured()?;
        let memory_mib = instances.peak_memory_mib();
        let kills = kills.done;
        Ok(Measured { memory_mib, kills, ..measured })
    }
}

/// How much of the work is done when the next kill is due: spread over it, at any speed.
struct Kills {
    wanted: usize,
    done: usize,
    due: f64,
}

impl Kills {
    fn new(wanted: usize) -> Self {
        let mut kills = Self { wanted, done: 0, due: 0.0 };
        kills.plan();
        kills
    }

    /// A random point in the next kill's share of the work.
    fn plan(&mut self) {
        self.due = (self.done as f64 + random()) / self.wanted as f64;
    }

    fn is_due(&mut self, progress: f64) -> bool {
        let is_due = self.done < self.wanted && progress > 0.0 && progress >= self.due;
        if is_due {
            self.done += 1;
            self.plan();
        }
        is_due
    }
}

/// What one round of work took, or several.
#[derive(Clone, Default)]
pub(crate) struct Measured {
    records: f64,
    seconds: f64,
    /// Processor time.
    program_s: f64,
    broker_s: f64,
    machine_s: f64,
    memory_mib: f64,
    pub(crate) kills: usize,
}

impl Measured {
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.seconds += other.seconds;
        self.program_s += other.program_s;
        self.broker_s += other.broker_s;
        self.machine_s += other.machine_s;
        self.memory_mib = self.memory_mib.max(other.memory_mib);
        self.kills += other.kills;
    }

    pub(crate) fn figures(&self) -> Result<Figures> {
        let records = self.records;
        let seconds = self.seconds;
        let program = self.program_s;
        let mut figures = Figures::from([("memory_mib", self.memory_mib), ("measured_s", seconds)]);
        if records < 1.0 {
            // Done with the first commit: right or wrong, but no speed.
            return Ok(figures);
        }
        let processors = std::thread::available_parallelism()?.get() as f64;
        let others = (self.machine_s - program - self.broker_s).max(0.0);
        figures.extend([
            ("records_measured", records),
            ("records_per_s", records / seconds),
            ("records_per_cpu_s", records / program.max(0.01)),
            ("measured_cpu_s", program),
            ("broker_cpu_us_per_record", self.broker_s / records * 1e6),
            ("others_percent", others / seconds / processors * 100.0),
        ]);
        Ok(figures)
    }
}

/// All in seconds: the first since the watch began, the others of processor time.
#[derive(Clone, Copy)]
struct Sample {
    at: f64,
    app: f64,
    broker: f64,
    machine: f64,
}

struct Watch<'a> {
    watched: &'a Watched<'a>,
    began: Instant,
    offsets: BaseConsumer,
    ends: BaseConsumer,
    total: i64,
    committed: i64,
    /// At the first commit that was seen, with its offsets: the start is not counted.
    first: Option<(Sample, i64)>,
    done: Option<Sample>,
    output: i64,
    looked_at_output_s: f64,
    grown: Option<Sample>,
}

impl<'a> Watch<'a> {
    fn new(watched: &'a Watched<'a>) -> Result<Self> {
        let cluster = watched.cluster;
        let ends = cluster.client("referee", "read_committed")?;
        let totals = watched.inputs.iter().map(|input| cluster.end(&ends, input));
        Ok(Self {
            watched,
            began: Instant::now(),
            // A read_committed fetch of offsets waits while a transaction holds some.
            offsets: cluster.client(watched.group, "read_uncommitted")?,
            total: totals.sum::<Result<i64>>()?,
            ends,
            committed: watched.done,
            first: None,
            done: None,
            output: 0,
            looked_at_output_s: 0.0,
            grown: None,
        })
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// How much of the work is committed, from 0 to 1.
    fn progress(&self) -> f64 {
        let done = self.watched.done;
        (self.committed - done) as f64 / (self.total - done).max(1) as f64
    }

    fn committed(&self) -> Result<i64> {
        let Watched { cluster, inputs, .. } = self.watched;
        inputs.iter().map(|input| cluster.committed(&self.offsets, input)).sum()
    }

    fn sample(&self, instances: &Instances<'_>) -> Sample {
        Sample {
            at: self.now(),
            app: instances.cpu_seconds(),
            broker: cpu_seconds(self.watched.broker_pid),
            machine: machine_seconds(),
        }
    }

    fn look(&mut self, instances: &Instances<'_>) -> Result<()> {
        if self.done.is_none() {
            // Until the group is there, an error.
            let now = self.committed().unwrap_or(self.committed);
            if now > self.committed {
                self.committed = now;
                let sample = self.sample(instances);
                self.first.get_or_insert((sample, now));
                self.done = (now >= self.total).then_some(sample);
            }
        }
        if self.done.is_some() || self.now() >= self.looked_at_output_s + OUTPUT_EVERY_S {
            self.looked_at_output_s = self.now();
            let output = self.watched.cluster.end(&self.ends, self.watched.output)?;
            if output != self.output {
                self.output = output;
                self.grown = Some(self.sample(instances));
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let grown = self.grown.map_or(0.0, |sample| sample.at);
        self.done.is_some_and(|done| self.now() - done.at.max(grown) > SETTLED_S)
    }

    fn measured(&self) -> Result<Measured> {
        let (Some((first, before)), Some(done)) = (self.first, self.done) else {
            return Err("no commit was seen".into());
        };
        let late = self.grown.filter(|grown| grown.at > done.at + OUTPUT_AFTER_S);
        let last = late.unwrap_or(done);
        Ok(Measured {
            records: (self.total - before) as f64,
            seconds: last.at - first.at,
            program_s: last.app - first.app,
            broker_s: last.broker - first.broker,
            machine_s: last.machine - first.machine,
            ..Measured::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_spread_over_the_work() {
        let mut kills = Kills::new(3);
        let due: Vec<i32> =
            (0..=300).filter(|done| kills.is_due(f64::from(*done) / 300.0)).collect();
        assert_eq!(due.len(), 3, "{due:?}");
        assert!(
            due.iter().zip([0, 100, 200]).all(|(at, share)| (share..=share + 100).contains(at))
        );
        assert!(!Kills::new(0).is_due(1.0));
    }

    #[test]
    fn rounds_add_up() {
        let round = Measured {
            records: 100.0,
            seconds: 2.0,
            program_s: 0.5,
            memory_mib: 30.0,
            ..Measured::default()
        };
        let mut both = round.clone();
        both.add(&Measured { memory_mib: 20.0, ..round });
        let figures = both.figures().expect("figures");
        assert_eq!(figures["records_per_s"], 50.0);
        assert_eq!(figures["records_per_cpu_s"], 200.0);
        assert_eq!(figures["memory_mib"], 30.0);
        let nothing = Measured::default().figures().expect("figures");
        assert!(!nothing.contains_key("records_per_s"));
    }
}

//! Measures a program from outside, while it works through its input: the offsets that its group
//! commits, the end of its output, and `/proc`.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;

use crate::Result;
use crate::cluster::{Cluster, committed, end};
use crate::process::{App, cpu_seconds, machine_seconds, peak_memory_mib};
use crate::run::Figures;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const OUTPUT_EVERY_S: f64 = 0.1;
/// The output must have stood still for so long.
const SETTLED_S: f64 = 1.5;
/// Output that comes so much later than the last commit belongs to the work.
const OUTPUT_AFTER_S: f64 = 0.25;
const DONE_WITHIN_S: f64 = 600.0;

pub(crate) struct Watched<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) broker_pid: u32,
    pub(crate) group: &'a str,
    pub(crate) input: &'a str,
    pub(crate) output: &'a str,
}

impl Watched<'_> {
    /// Returns when the whole input is committed and the output has come to its end.
    pub(crate) fn watch(&self, app: &mut App) -> Result<Figures> {
        let mut watch = Watch::new(self, app.pid())?;
        while !watch.is_over() {
            watch.look()?;
            if watch.now() > DONE_WITHIN_S {
                return Err(format!("not done in {DONE_WITHIN_S} s").into());
            }
            if app.has_ended()? {
                return Err("it ended by itself".into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        watch.figures()
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
    pid: u32,
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
    fn new(watched: &'a Watched<'a>, pid: u32) -> Result<Self> {
        let cluster = watched.cluster;
        let ends = cluster.client("referee", "read_committed")?;
        Ok(Self {
            watched,
            pid,
            began: Instant::now(),
            // A read_committed fetch of offsets waits while a transaction holds some.
            offsets: cluster.client(watched.group, "read_uncommitted")?,
            total: end(&ends, watched.input)?,
            ends,
            committed: 0,
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

    fn sample(&self) -> Sample {
        Sample {
            at: self.now(),
            app: cpu_seconds(self.pid),
            broker: cpu_seconds(self.watched.broker_pid),
            machine: machine_seconds(),
        }
    }

    fn look(&mut self) -> Result<()> {
        if self.done.is_none() {
            // Until the group is there, an error.
            let now = committed(&self.offsets, self.watched.input).unwrap_or(self.committed);
            if now > self.committed {
                self.committed = now;
                let sample = self.sample();
                self.first.get_or_insert((sample, now));
                self.done = (now >= self.total).then_some(sample);
            }
        }
        if self.done.is_some() || self.now() >= self.looked_at_output_s + OUTPUT_EVERY_S {
            self.looked_at_output_s = self.now();
            let output = end(&self.ends, self.watched.output)?;
            if output != self.output {
                self.output = output;
                self.grown = Some(self.sample());
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let grown = self.grown.map_or(0.0, |sample| sample.at);
        self.done.is_some_and(|done| self.now() - done.at.max(grown) > SETTLED_S)
    }

    fn figures(&self) -> Result<Figures> {
        let (Some((first, before)), Some(done)) = (self.first, self.done) else {
            return Err("no commit was seen".into());
        };
        let late = self.grown.filter(|grown| grown.at > done.at + OUTPUT_AFTER_S);
        let last = late.unwrap_or(done);
        let counted = (self.total - before) as f64;
        let mut figures = Figures::from([
            ("memory_mib", peak_memory_mib(self.pid)),
            ("measured_s", last.at - first.at),
        ]);
        if counted < 1.0 {
            // Done with the first commit: right or wrong, but no speed.
            return Ok(figures);
        }
        let seconds = last.at - first.at;
        let (app, broker) = (last.app - first.app, last.broker - first.broker);
        let processors = std::thread::available_parallelism()?.get() as f64;
        let others = (last.machine - first.machine - app - broker).max(0.0);
        figures.extend([
            ("records_measured", counted),
            ("records_per_s", counted / seconds),
            ("records_per_cpu_s", counted / app.max(0.01)),
            ("measured_cpu_s", app),
            ("broker_cpu_us_per_record", broker / counted * 1e6),
            ("others_percent", others / seconds / processors * 100.0),
        ]);
        Ok(figures)
    }
}

//! One row, one job, once.

mod rounds;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::Result;
use crate::check::{Verdict, check};
use crate::cluster::RaceCluster;
use crate::data::{DataSet, OrderKey};
use crate::instances::Instances;
use crate::job::{Job, JobKind};
use crate::latency;
use crate::peers::PeerRow;
use crate::probe::Probe;
use crate::process::{PeerProgram, cpu_seconds};
use crate::start::{self, Started, Starts};
use crate::watch::{Measured, Watched};

pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// A line of the raw results.
#[derive(Serialize)]
pub(crate) struct JobRun {
    pub(crate) job: &'static str,
    pub(crate) guarantee: String,
    pub(crate) peer: String,
    pub(crate) records: u64,
    pub(crate) at_ms: u128,
    /// None: the output is right.
    pub(crate) complaint: Option<String>,
    pub(crate) figures: Figures,
}

pub(crate) struct Race {
    pub(crate) cluster: RaceCluster,
    pub(crate) broker_pid: u32,
    pub(crate) folder: PathBuf,
    /// Of Cargo's programs.
    pub(crate) target: String,
    pub(crate) classpath: String,
    pub(crate) guarantee: String,
    pub(crate) records: u64,
    /// For jobs that can be done by several.
    pub(crate) instances: usize,
    /// `kill -9` so often while there is work; in J7 in each round.
    pub(crate) kills: usize,
}

impl Race {
    /// A program that fails is a row with a complaint, not the end of the race.
    pub(crate) fn run(&self, row: &PeerRow, job: &'static Job) -> JobRun {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let guarantee = self.guarantee.clone();
        let peer = row.name.clone();
        let mut figures = Figures::new();
        let entry = RaceEntry::new(self, row, job, at_ms);
        let complaint = match entry.measure(&mut figures).and_then(|()| entry.clear()) {
            Ok(()) => None,
            Err(error) => Some(format!("{error} (log: {})", entry.log.display())),
        };
        JobRun { job: job.name, guarantee, peer, records: self.records, at_ms, complaint, figures }
    }

    /// The topic of a set of data that several runs share, filled by the first.
    fn data_topic(&self, data: &DataSet) -> Result<String> {
        let name = match data.key {
            OrderKey::Customer => "orders",
            OrderKey::Order => "orders-by-id",
            OrderKey::Category => "sales",
        };
        let topic = format!("{name}-{}-{}", data.records, data.partitions);
        self.cluster.fill(&topic, data)?;
        Ok(topic)
    }
}

/// A run's names and folders.
struct RaceEntry<'a> {
    race: &'a Race,
    row: &'a PeerRow,
    job: &'a Job,
    /// The group, and the beginning of the names of all topics that the run makes.
    app_id: String,
    output: String,
    state: PathBuf,
    log: PathBuf,
}

impl<'a> RaceEntry<'a> {
    fn new(race: &'a Race, row: &'a PeerRow, job: &'a Job, at_ms: u128) -> Self {
        let mut name: String = row.name.to_lowercase();
        name.retain(|letter| letter.is_ascii_alphanumeric());
        let app_id = format!("{name}-{}-{at_ms}", job.name.to_lowercase());
        Self {
            race,
            row,
            job,
            output: format!("{app_id}-out"),
            state: race.folder.join("state").join(&app_id),
            log: race.folder.join("logs").join(format!("{app_id}.log")),
            app_id,
        }
    }

    fn measure(&self, figures: &mut Figures) -> Result<()> {
        fs::create_dir_all(&self.state)?;
        fs::create_dir_all(self.log.parent().unwrap_or(Path::new(".")))?;
        self.race.cluster.create(&self.output)?;
        figures.append(&mut match self.job.kind {
            JobKind::Throughput => self.throughput()?,
            JobKind::Rounds => self.rounds()?,
            JobKind::Latency => self.latency()?,
            JobKind::Restore | JobKind::Kill => self.come_back()?,
            JobKind::Start => self.starts()?,
            JobKind::Idle => self.idle()?,
        });
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        fs::remove_dir_all(&self.state)?;
        self.race.cluster.delete(&self.app_id)
    }

    /// Each instance has its own state directory.
    fn start(&self, input: &str, instance: usize) -> Result<PeerProgram> {
        let race = self.race;
        let state = self.state.join(instance.to_string());
        fs::create_dir_all(&state)?;
        let fill = |word: &String| {
            word.replace("{target}", &race.target).replace("{classpath}", &race.classpath)
        };
        let words: Vec<String> = self.row.program.iter().map(fill).collect();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("BOOTSTRAP", &race.cluster.bootstrap)
            .env("APP_ID", &self.app_id)
            .env("STATE_DIR", state)
            .env("GUARANTEE", &race.guarantee)
            .env("JOB", self.job.work.name())
            .env("INPUT", input)
            .env("TABLE", self.table_input())
            .env("OUTPUT", &self.output)
            .env("PARTITIONS", race.cluster.partitions.to_string())
            .envs(&self.row.env);
        PeerProgram::start(&mut command, &self.log)
    }

    fn data(&self) -> DataSet {
        self.job.data(self.race.records, self.race.cluster.partitions)
    }

    fn watched<'b>(&'b self, inputs: &'b [&'b str]) -> Watched<'b> {
        Watched {
            cluster: &self.race.cluster,
            broker_pid: self.race.broker_pid,
            group: &self.app_id,
            inputs,
            done: 0,
            output: &self.output,
            kills: self.race.kills,
        }
    }

    fn throughput(&self) -> Result<Figures> {
        let data = self.data();
        let input = self.race.data_topic(&data)?;
        let start = |instance| self.start(&input, instance);
        let mut instances = Instances::start(self.race.instances, &start)?;
        let measured = self.watched(&[input.as_str()]).watch(&mut instances)?;
        instances.stop()?;
        self.judged(&measured, &data)
    }

    /// The figures, if the output is right.
    fn judged(&self, measured: &Measured, data: &DataSet) -> Result<Figures> {
        let Verdict { outputs, complaint } =
            check(&self.race.cluster, self.job.work, &self.output, data)?;
        if !complaint.is_empty() {
            return Err(complaint.into());
        }
        let mut figures = measured.figures()?;
        figures.insert("outputs", outputs as f64);
        if self.race.kills > 0 {
            figures.insert("kills", measured.kills as f64);
        }
        Ok(figures)
    }

    /// An input of the run's own.
    fn own_input(&self) -> String {
        format!("{}-in", self.app_id)
    }

    /// The topic of J7's table.
    fn table_input(&self) -> String {
        format!("{}-customers", self.app_id)
    }

    fn latency(&self) -> Result<Figures> {
        let input = self.own_input();
        let cluster = &self.race.cluster;
        cluster.create(&input)?;
        let app = self.start(&input, 0)?;
        let mut figures = latency::measure(cluster, self.job.work, &input, &self.output)?;
        figures.insert("cpu_s", cpu_seconds(app.pid()));
        app.stop()?;
        Ok(figures)
    }

    /// Counts, ends, and counts on: without its state, or after `kill -9`.
    fn come_back(&self) -> Result<Figures> {
        let cluster = &self.race.cluster;
        let input = self.own_input();
        let data = self.data();
        cluster.fill(&input, &data)?;
        let start = |instance| self.start(&input, instance);
        let mut instances = Instances::start(1, &start)?;
        self.watched(&[input.as_str()]).watch(&mut instances)?;
        if self.job.kind == JobKind::Kill {
            instances.kill()?;
        } else {
            instances.stop()?;
            fs::remove_dir_all(&self.state)?;
            fs::create_dir_all(&self.state)?;
        }
        let probe = Probe::send(cluster, &input, &self.output, &data)?;
        let began = Instant::now();
        let mut app = self.start(&input, 0)?;
        let mut figures = probe.answers(&mut app, began)?;
        figures.insert("cpu_s", cpu_seconds(app.pid()));
        figures.insert("changelog_records", self.changelog_records()?);
        app.stop()?;
        Ok(figures)
    }

    fn changelog_records(&self) -> Result<f64> {
        let cluster = &self.race.cluster;
        let client = cluster.client("referee", "read_committed")?;
        let mut topics = cluster.topics()?;
        topics.retain(|topic| topic.starts_with(&self.app_id) && topic.ends_with("-changelog"));
        let ends = topics.iter().map(|topic| cluster.end(&client, topic));
        Ok(ends.sum::<Result<i64>>()? as f64)
    }

    /// The first start, and one of a program that has been there before.
    fn starts(&self) -> Result<Figures> {
        let cluster = &self.race.cluster;
        let input = self.own_input();
        cluster.create(&input)?;
        let mut starts = Starts::new(cluster, &self.app_id, &input, &self.output)?;
        let first = self.started(&mut starts)?;
        let again = self.started(&mut starts)?;
        let ms = |started: Started| {
            (
                (started.first - started.joining).as_secs_f64() * 1e3,
                started.joining.as_secs_f64() * 1e3,
            )
        };
        Ok(Figures::from([
            ("first_start_ms", ms(first).0),
            ("first_start_joining_ms", ms(first).1),
            ("start_again_ms", ms(again).0),
            ("start_again_joining_ms", ms(again).1),
        ]))
    }

    fn started(&self, starts: &mut Starts<'_>) -> Result<Started> {
        starts.feed()?;
        let began = Instant::now();
        let mut app = self.start(&self.own_input(), 0)?;
        let started = starts.started(&mut app, began)?;
        app.stop()?;
        Ok(started)
    }

    fn idle(&self) -> Result<Figures> {
        let cluster = &self.race.cluster;
        let input = self.own_input();
        cluster.create(&input)?;
        let mut starts = Starts::new(cluster, &self.app_id, &input, &self.output)?;
        starts.feed()?;
        let mut app = self.start(&input, 0)?;
        starts.started(&mut app, Instant::now())?;
        let percent = start::idle_percent(&app);
        app.stop()?;
        Ok(Figures::from([("idle_percent", percent)]))
    }
}

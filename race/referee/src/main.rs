//! The race's referee: makes the data, starts each program in turn, measures it from outside,
//! reads back what it wrote, and says whether it is right. `./dev race` starts it, with a broker.

mod check;
mod cluster;
mod data;
mod instances;
mod job;
mod latency;
mod peers;
mod probe;
mod process;
mod run;
mod start;
mod table;
mod watch;

use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use regex::Regex;

use cluster::RaceCluster;
use job::{JOBS, Job};
use peers::PeerRow;
use run::{JobRun, Race};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the referee must be told, and what it need not, with the default.
const ARGUMENTS: [(&str, Option<&str>); 14] = [
    ("bootstrap", None),
    ("broker-pid", None),
    ("folder", None),
    ("target", None),
    ("classpath", None),
    ("rows", None),
    ("jobs", Some("")),
    ("peers", Some("")),
    ("runs", Some("3")),
    ("records", Some("3000000")),
    ("guarantee", Some("eos")),
    ("partitions", Some("4")),
    ("instances", Some("1")),
    ("kills", Some("0")),
];

fn main() -> ExitCode {
    match race() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

struct RacePlan {
    race: Race,
    rows: Vec<PeerRow>,
    jobs: Vec<&'static Job>,
    runs: usize,
}

/// Whether all outputs were right.
fn race() -> Result<bool> {
    let plan = plan(&arguments(std::env::args().skip(1))?)?;
    let results = plan.race.folder.join("results.jsonl");
    let mut raw = OpenOptions::new().create(true).append(true).open(&results)?;
    let mut runs = Vec::new();
    for job in &plan.jobs {
        plan.run_job(job, &mut raw, &mut runs)?;
    }
    if runs.is_empty() {
        return Err("no row has such a name and such a job".into());
    }
    println!();
    table::print(&runs);
    println!("\nraw results: {}", results.display());
    Ok(runs.iter().all(|run| run.complaint.is_none()))
}

impl RacePlan {
    /// In rounds of all rows, so that a machine that slows down slows all alike.
    fn run_job(&self, job: &'static Job, raw: &mut File, runs: &mut Vec<JobRun>) -> Result<()> {
        let runs_it = |row: &&PeerRow| row.jobs.iter().any(|name| name == job.name);
        for round in 1..=self.runs {
            for row in self.rows.iter().filter(runs_it) {
                let run = self.race.run(row, job);
                writeln!(raw, "{}", serde_json::to_string(&run)?)?;
                println!("{} {}/{} {}: {}", run.job, round, self.runs, run.peer, outcome(&run));
                runs.push(run);
            }
        }
        Ok(())
    }
}

fn outcome(run: &JobRun) -> String {
    if let Some(complaint) = &run.complaint {
        return format!("NOT VALID: {complaint}");
    }
    let figures = run.figures.iter().map(|(name, figure)| format!("{name} {figure:.1}"));
    figures.collect::<Vec<_>>().join(", ")
}

fn plan(arguments: &HashMap<String, String>) -> Result<RacePlan> {
    let of = |name: &str| arguments[name].clone();
    let guarantee = of("guarantee");
    if !["eos", "alo"].contains(&guarantee.as_str()) {
        return Err(format!("--guarantee is eos or alo, not {guarantee}").into());
    }
    let mut rows = peers::read(&PathBuf::from(of("rows")))?;
    let wanted = Regex::new(&of("peers"))?;
    rows.retain(|row| wanted.is_match(&row.name));
    let cluster = RaceCluster {
        bootstrap: of("bootstrap"),
        partitions: number::<NonZero<u32>>("partitions", &of("partitions"))?.get(),
    };
    let race = Race {
        cluster,
        broker_pid: number("broker-pid", &of("broker-pid"))?,
        folder: of("folder").into(),
        target: of("target"),
        classpath: of("classpath"),
        guarantee,
        records: number("records", &of("records"))?,
        instances: number::<NonZero<usize>>("instances", &of("instances"))?.get(),
        kills: number("kills", &of("kills"))?,
    };
    let jobs = jobs(&of("jobs"))?;
    refuse_what_is_not_done(&race, &jobs)?;
    Ok(RacePlan { race, rows, jobs, runs: number("runs", &of("runs"))? })
}

/// What was asked for and would be passed over, or could not be right.
fn refuse_what_is_not_done(race: &Race, jobs: &[&Job]) -> Result<()> {
    let alone = jobs.iter().find(|job| !job.has_instances());
    if let Some(job) = alone.filter(|_| race.instances > 1 || race.kills > 0) {
        return Err(
            format!("--instances and --kills say nothing to {}: name --jobs", job.name).into()
        );
    }
    if race.kills > 0 && race.guarantee != "eos" {
        return Err("--kills needs --guarantee eos: at least once repeats what was killed".into());
    }
    Ok(())
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("--{name} needs a number, not `{text}`").into())
}

fn jobs(names: &str) -> Result<Vec<&'static Job>> {
    if names.is_empty() {
        return Ok(JOBS.iter().collect());
    }
    let known: Vec<&str> = JOBS.iter().map(|job| job.name).collect();
    let job = |name: &str| {
        Job::named(name).ok_or_else(|| format!("no job {name}; there are {}", known.join(", ")))
    };
    Ok(names.split(',').map(job).collect::<std::result::Result<_, _>>()?)
}

/// `--name value`, with the defaults of those that are absent.
fn arguments(given: impl Iterator<Item = String>) -> Result<HashMap<String, String>> {
    let mut given = given;
    let mut arguments = HashMap::new();
    while let Some(flag) = given.next() {
        let name = flag.strip_prefix("--").unwrap_or_default();
        if !ARGUMENTS.iter().any(|(known, _)| *known == name) {
            return Err(format!("unknown argument: {flag}").into());
        }
        let value = given.next().ok_or_else(|| format!("{flag} needs a value"))?;
        arguments.insert(name.to_owned(), value);
    }
    for (name, default) in ARGUMENTS {
        if !arguments.contains_key(name) {
            let default = default.ok_or_else(|| format!("--{name} is missing"))?;
            arguments.insert(name.to_owned(), default.to_owned());
        }
    }
    Ok(arguments)
}

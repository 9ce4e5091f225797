//! Running many simulations.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Incidents, Outcome, SimError, Simulation};
use crate::lock::lock;

/// The variable that selects a single seed, whose history is printed.
const SEED: &str = "HEADWATER_SEED";
/// The variable that sets the number of seeds.
const SEEDS: &str = "HEADWATER_SEEDS";

/// The result of many simulations that all passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many there were.
    pub seeds: u64,
    /// How many transactions the log accepted from them.
    pub transactions: u64,
    /// The incidents, counted over all of them.
    pub incidents: Incidents,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.transactions += outcome.transactions();
        self.incidents.extend(&outcome.incidents());
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} transactions", self.seeds, self.transactions)?;
        self.incidents.fmt(f)
    }
}

/// Runs the simulations that `make` builds from the seeds, on all cores.
///
/// `HEADWATER_SEEDS=10000` in the environment runs that many instead, from 0. `HEADWATER_SEED=7`
/// runs that seed alone and prints its history.
///
/// # Errors
/// The violation of the lowest failing seed. The run ends early after a few failures.
pub fn simulate(
    seeds: Range<u64>,
    make: impl Fn(u64) -> Simulation + Sync,
) -> Result<Summary, SimError> {
    if let Some(seed) = number(SEED) {
        let outcome = make(seed).run().map_err(with_replay)?;
        println!("{}", outcome.history());
        let mut summary = Summary::default();
        summary.add(&outcome);
        return Ok(summary);
    }
    let Range { start, end } = number(SEEDS).map_or(seeds, |seeds| 0..seeds);
    let next = AtomicU64::new(start);
    let summary = Mutex::new(Summary::default());
    let failed = Mutex::new(Vec::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || lock(&failed).len() >= FAILED_MAX {
            return;
        }
        match make(seed).run() {
            Ok(outcome) => lock(&summary).add(&outcome),
            Err(error) => lock(&failed).push(error),
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failed = std::mem::take(&mut *lock(&failed));
    failed.sort_by_key(|error| error.seed);
    let others: Vec<_> = failed.iter().skip(1).map(|error| error.seed).collect();
    match failed.into_iter().next() {
        None => Ok(std::mem::take(&mut *lock(&summary))),
        Some(mut error) => {
            if !others.is_empty() {
                error.what = format!("{} (seeds {others:?} fail too)", error.what);
            }
            Err(with_replay(error))
        }
    }
}

/// After this many failing seeds nothing new is expected.
const FAILED_MAX: usize = 4;

/// The test harness names its threads after the tests.
fn with_replay(mut error: SimError) -> SimError {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    let command = format!("{SEED}={} cargo test {test}", error.seed);
    error.replay = format!("{} -- --nocapture", command.trim_end());
    error
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

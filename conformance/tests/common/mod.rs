//! What the tests of this package share.

#![allow(dead_code, reason = "each test uses a part of it")]

use conformance::case::{self, Case};

/// All cases in this package.
pub(crate) fn cases() -> Vec<Case> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    let mut files: Vec<_> = ["open", "hand"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(format!("{root}/{folder}")).expect("cases"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        case::read(file.to_str().expect("UTF-8")).expect("cases that can be read")
    };
    files.iter().flat_map(read).collect()
}

/// Those whose outputs follow from the rules alone.
pub(crate) fn cases_by_rules() -> Vec<Case> {
    cases().into_iter().filter(|case| case.basis == "rules").collect()
}

/// How many seeds to try: `HEADWATER_SEEDS`, or 200.
pub(crate) fn seeds() -> u64 {
    std::env::var("HEADWATER_SEEDS").map_or(200, |seeds| seeds.parse().expect("a number"))
}

/// Runs `job` for 0 to `count` on all processors; returns what it found.
pub(crate) fn in_parallel<T: Send>(count: u64, job: impl Fn(u64) -> Vec<T> + Sync) -> Vec<T> {
    let next = std::sync::atomic::AtomicU64::new(0);
    let worker = || {
        let mut found = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if index >= count {
                return found;
            }
            found.extend(job(index));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    })
}

//! A damaged log shows the same records as before, or is refused. Opened without the damaged part,
//! it shows no other records and says what is missing. It never panics, never aborts, and needs no
//! more memory than an intact log.
//!
//! The child processes run this test program with little memory, so that an abort ends only them.
//! `HEADWATER_DAMAGED_LOGS=10000` damages that many logs; `HEADWATER_DAMAGED_FIRST` sets the first
//! one, to repeat a failure.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod damage;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use damage::Chance;
use damage::contents::{Contents, append, read};
use damage::images::damage;
use damage::workload::{LOGS, build, copy, create_topics, options};
use headwater_embedded::{Damaged, EmbeddedLog, LeftOut, LogOptions, Verify};

const LOGS_VAR: &str = "HEADWATER_TEST_LOGS";
const FIRST_VAR: &str = "HEADWATER_TEST_FIRST";
const COUNT_VAR: &str = "HEADWATER_TEST_COUNT";
/// How many images one child looks at.
const BATCH: u64 = 100;
/// The address space of a child, in KiB. An image has less than one MiB.
const MEMORY_KIB: u64 = 600_000;
/// How long one image may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn damaged_logs_are_refused() {
    let first = number("HEADWATER_DAMAGED_FIRST", 0);
    let count = number("HEADWATER_DAMAGED_LOGS", 400);
    let directory = tempfile::tempdir().unwrap();
    (0..LOGS).for_each(|log| build(&directory.path().join(log.to_string()), log));
    let mut outcomes = BTreeMap::<String, u64>::new();
    let mut violations = Vec::new();
    let mut from = first;
    while from < first + count {
        let batch = BATCH.min(first + count - from);
        let mut next = from;
        for line in run_child(directory.path(), from, batch) {
            if let Some(outcome) = line.strip_prefix("outcome ") {
                next += 1;
                *outcomes.entry(outcome.to_owned()).or_default() += 1;
            } else if let Some(violation) = line.strip_prefix("violation ") {
                next += 1;
                violations.push(violation.to_owned());
            }
        }
        if next < from + batch {
            violations.push(format!("image {next} ended the process"));
            next += 1;
        }
        from = next;
    }
    println!("{outcomes:#?}");
    assert!(violations.is_empty(), "{} violations: {violations:#?}", violations.len());
    let refused: u64 = outcomes.iter().filter(|(k, _)| k.starts_with("refused")).map(|o| o.1).sum();
    assert!(count < 100 || refused * 4 > count, "too few were noticed to mean anything");
}

/// One flipped bit in one record: the error says which record, at opening or at reading.
#[test]
fn the_error_says_what_and_where() {
    const TEXTS: [&str; 3] = ["before", "the needle in it", "behind"];
    for (verify, place) in [
        (Verify::WhenOpened, "from offset 1 up to but not including 4"),
        (Verify::WhenRead, "the records from offset 2"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let options = options(verify, 0);
        let log = options.clone().open(directory.path()).unwrap();
        create_topics(&log);
        TEXTS.iter().for_each(|text| append(&log, text).unwrap());
        drop(log);
        let database = directory.path().join("log.redb");
        let mut bytes = fs::read(&database).unwrap();
        let places: Vec<_> =
            (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"the needle")).collect();
        places.iter().for_each(|at| bytes[*at] ^= 1);
        fs::write(&database, bytes).unwrap();
        let error = options.clone().open(directory.path()).and_then(|log| read(&log)).unwrap_err();
        let error = error.to_string();
        for word in [directory.path().to_str().unwrap(), "orders-0", place, "damaged=skip"] {
            assert!(error.contains(word), "{verify:?}, {word}: {error}");
        }
        let log = options.damaged(Damaged::Skip).open(directory.path()).unwrap();
        let places = log.left_out().iter().filter(|what| matches!(what, LeftOut::Records { .. }));
        assert_eq!(places.count(), 3, "{:?}", log.left_out());
        let seen = read(&log).unwrap();
        let counts = TEXTS.map(|text| seen.count(text));
        assert_eq!(counts, [3, 0, 3]);
    }
}

/// The lines that a child wrote before it ended.
fn run_child(logs: &Path, first: u64, count: u64) -> Vec<String> {
    let program = env::current_exe().unwrap();
    let script = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" child --exact --nocapture");
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .arg(program)
        .env(LOGS_VAR, logs)
        .env(FIRST_VAR, first.to_string())
        .env(COUNT_VAR, count.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Not a test: [`run_child`] runs it. Without its environment it does nothing.
#[test]
fn child() {
    let Ok(logs) = env::var(LOGS_VAR) else { return };
    let logs = PathBuf::from(logs);
    println!();
    // Silence redb's panic messages: only panics that escape are counted.
    std::panic::set_hook(Box::new(|_| {}));
    static DONE: AtomicU64 = AtomicU64::new(0);
    thread::spawn(|| {
        loop {
            let before = DONE.load(Ordering::Relaxed);
            thread::sleep(PATIENCE);
            if DONE.load(Ordering::Relaxed) == before {
                eprintln!("an image takes too long");
                std::process::abort();
            }
        }
    });
    let whole: Vec<_> = (0..LOGS).map(|log| whole(&logs.join(log.to_string()))).collect();
    let first = number(FIRST_VAR, 0);
    for seed in first..first + number(COUNT_VAR, 0) {
        let mut what = String::new();
        let run = catch_unwind(AssertUnwindSafe(|| look_at(&logs, &whole, seed, &mut what)));
        match run {
            Ok(Ok(outcome)) => println!("outcome {outcome}"),
            Ok(Err(violation)) => println!("violation image {seed} ({what}): {violation}"),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                println!("violation image {seed} ({what}): panic: {text:?}");
            }
        }
        DONE.fetch_add(1, Ordering::Relaxed);
    }
}

/// The contents of an undamaged log.
fn whole(log: &Path) -> Contents {
    let directory = tempfile::tempdir().unwrap();
    copy(&log.join("late"), directory.path());
    read(&options(Verify::WhenOpened, 1 << 20).open(directory.path()).unwrap()).unwrap()
}

/// Damages a log and opens it; returns the outcome, or the violation.
fn look_at(
    logs: &Path,
    whole: &[Contents],
    seed: u64,
    what: &mut String,
) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let verify = [Verify::WhenOpened, Verify::WhenRead][chance.below(2) as usize];
    let is_verified = verify == Verify::WhenOpened;
    let (number, done) = damage(logs, directory.path(), is_verified, &mut chance);
    *what = format!("log {number}, {verify:?}, {done}");
    let whole = &whole[number as usize];
    let cache_bytes = [0, 1 << 20][chance.below(2) as usize];
    let options = options(verify, cache_bytes);
    match chance.below(4) {
        0 => skip(options.damaged(Damaged::Skip), directory.path(), whole),
        1 => write(&options, directory.path(), whole),
        _ => refuse(&options, directory.path(), whole),
    }
}

/// Opens and reads it.
fn refuse(options: &LogOptions, directory: &Path, whole: &Contents) -> Result<String, String> {
    let seen = options.clone().open(directory).and_then(|log| read(&log));
    match seen {
        Ok(seen) if seen == *whole => Ok("same".to_owned()),
        Ok(_) => Err("other records, and no error".to_owned()),
        Err(error) => check_text(&error.to_string(), directory).map(|()| "refused".to_owned()),
    }
}

/// An error says where, and is not debugging output.
fn check_text(error: &str, directory: &Path) -> Result<(), String> {
    match error.contains(directory.to_str().unwrap()) {
        true => Ok(()),
        false => Err(format!("the error does not name the directory: {error}")),
    }
}

/// Opens it, writes to it, and opens it again.
fn write(options: &LogOptions, directory: &Path, whole: &Contents) -> Result<String, String> {
    let text = "written after the damage";
    let opened = options.clone().open(directory);
    let written = opened.and_then(|log| append(&log, text)).is_ok();
    let seen = options.clone().open(directory).and_then(|log: EmbeddedLog| read(&log));
    match seen {
        Ok(seen) => {
            let count = seen.count(text);
            if count != 3 && (written || count != 0) {
                return Err(format!("{count} records of 3 that were written, and no error"));
            }
            match seen.without(text, whole) == *whole {
                true => Ok("same, and written to".to_owned()),
                false => Err("other records after writing, and no error".to_owned()),
            }
        }
        Err(error) => {
            check_text(&error.to_string(), directory)?;
            Ok(if written { "refused after writing" } else { "refused" }.to_owned())
        }
    }
}

/// Opens it without the damaged part, twice.
fn skip(options: LogOptions, directory: &Path, whole: &Contents) -> Result<String, String> {
    let mut outcome = "same";
    let opened = options.clone().open(directory);
    let log = match opened {
        Ok(log) => log,
        Err(error) => {
            return check_text(&error.to_string(), directory)
                .map(|()| "refused, even in part".to_owned());
        }
    };
    let left_out = log.left_out().to_vec();
    if !left_out.is_empty() {
        outcome = "opened in part";
        if !directory.join("log.redb.damaged").exists() {
            return Err("the damaged log was not kept".to_owned());
        }
    }
    let first = read(&log);
    drop(log);
    let again = options.open(directory).and_then(|log| Ok((read(&log)?, log.left_out().to_vec())));
    let (Ok(first), Ok((again, _))) = (first, again) else {
        return Err("opened in part, and then refused".to_owned());
    };
    match again.is_part(whole, &left_out).or(first.is_part(whole, &left_out)) {
        None => Ok(outcome.to_owned()),
        Some(why) => Err(format!("{why}; left out: {left_out:?}")),
    }
}

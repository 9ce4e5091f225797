//! What was acknowledged survives `kill -9`, and nothing uncommitted is visible afterwards.
//!
//! The child process runs this test program: two writers print each transaction after its
//! acknowledgement.
#![allow(clippy::unwrap_used)]

mod ledger;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_embedded::{EmbeddedLog, LogOptions};
use ledger::support::Chance;
use ledger::{WRITERS, Writer, create_topics, verify};

const DIRECTORY: &str = "HEADWATER_TEST_DIRECTORY";
const START: &str = "HEADWATER_TEST_START";
const ROUNDS: u64 = 15;

#[test]
fn acknowledged_transactions_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let mut acknowledged = vec![BTreeSet::new(); WRITERS as usize];
    let mut before = acknowledged.clone();
    for round in 0..ROUNDS {
        let start = round * 1_000_000;
        let mut child = spawn(directory.path().to_str().unwrap(), start);
        let count = chance.below(60);
        let pause = Duration::from_micros(chance.below(8000));
        let news = kill_after(&mut child, count as usize, pause);
        let log = EmbeddedLog::open(directory.path()).unwrap();
        let visible = verify(&log);
        for writer in 0..WRITERS as usize {
            let committed = news.iter().filter(|a| a.committed && a.writer == writer);
            acknowledged[writer].extend(committed.map(|a| a.n));
            let lost: Vec<_> = acknowledged[writer].difference(&visible[writer]).collect();
            assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
            let lost: Vec<_> = before[writer].difference(&visible[writer]).collect();
            assert!(lost.is_empty(), "round {round}: was visible once: {lost:?}");
            // The one whose acknowledgement the kill cut off.
            let more = visible[writer].difference(&acknowledged[writer]).filter(|n| **n >= start);
            assert!(more.count() <= 1, "round {round}: more than was begun");
        }
        before = visible;
    }
    let total: usize = acknowledged.iter().map(BTreeSet::len).sum();
    assert!(total > 100, "too few to mean anything: {total}");
}

struct Acknowledged {
    writer: usize,
    n: u64,
    committed: bool,
}

fn spawn(directory: &str, start: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(START, start.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child some time after it acknowledged `count` transactions; returns all that it
/// acknowledged.
fn kill_after(child: &mut Child, count: usize, pause: Duration) -> Vec<Acknowledged> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut news: Vec<_> = lines.by_ref().map_while(parse).flatten().take(count + 1).collect();
    thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    news.extend(lines.map_while(parse).flatten());
    news
}

/// The outer `None` ends the reading: the kill cut off the line.
fn parse(line: std::io::Result<String>) -> Option<Option<Acknowledged>> {
    let line = line.ok()?;
    let Some(rest) = line.strip_prefix("acknowledged ") else { return Some(None) };
    let mut words = rest.strip_suffix(" .")?.split(' ');
    let writer = words.next()?.parse().ok()?;
    let n = words.next()?.parse().ok()?;
    let committed = words.next()? == "true";
    Some(Some(Acknowledged { writer, n, committed }))
}

/// Not a test: [`spawn`] runs it. Without its environment it does nothing.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let start: u64 = std::env::var(START).unwrap().parse().unwrap();
    // A small cache, so that kills also happen during eviction and compaction.
    let log = LogOptions::default().cache_bytes(8 << 10).open(directory).unwrap();
    create_topics(&log).unwrap();
    println!();
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let log = &log;
            scope.spawn(move || write_for_ever(log, number, start));
        }
    });
}

fn write_for_ever(log: &EmbeddedLog, number: u64, start: u64) {
    let mut writer = Writer::new(log, number).unwrap();
    for n in start.. {
        if n % 16 == 0 {
            log.maintain(0).unwrap();
        }
        // The other writer may join in between; then that transaction did not happen.
        match writer.write(n) {
            Ok(committed) => {
                let line = format!("acknowledged {number} {n} {committed} .\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
            Err(error) => {
                println!("{error}");
                writer = Writer::new(log, number).unwrap();
            }
        }
    }
}

//! How long it takes to open a log, verified as a whole and not; `throughput DIRECTORY` makes one.
//!
//! `cargo run --release -p headwater-embedded --example opening DIRECTORY`
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Instant;

use headwater_embedded::{LogOptions, Verify};

fn main() {
    let directory = std::env::args().nth(1).unwrap();
    let bytes = std::fs::metadata(Path::new(&directory).join("log.redb")).unwrap().len();
    println!("{:.2} GB", bytes as f64 / 1e9);
    for verify in [Verify::WhenRead, Verify::WhenOpened] {
        let start = Instant::now();
        let log = LogOptions::default().verify(verify).open(&directory).unwrap();
        println!("{verify:?}: {:.3} s", start.elapsed().as_secs_f64());
        drop(log);
    }
}

//! Every example runs on the embedded log and prints the expected output; the shop continues after
//! `kill -9`, and its totals are right.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Cargo builds a package's examples with its tests, next to them.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("this program");
    let build: &Path = test.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let path: PathBuf = build.join("examples").join(name);
    assert!(path.exists(), "{} is not built: run all targets", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

fn says(name: &str, arguments: &[&str], expected: &str) {
    let output = example(name).args(arguments).output().expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {errors}\n{text}");
    assert!(text.contains(expected), "{name} does not say {expected:?}:\n{text}");
}

#[test]
fn each_example_runs() {
    for (name, expected) in [
        ("word_count", ": 2"),
        ("order_shipment", "1000 orders, 898 of them paid, 898 shipments"),
        ("customer_counts", "1000 orders of 8 customers"),
        ("sales_per_minute", "09:04 toys"),
        ("revenue_per_minute", "600 updates of 5 minutes"),
        ("agent", "100 events processed, 100 counted"),
        ("nightly_report", "49500 of 49500 cents reported"),
        ("consumer_group", "one has come: each of 6 partitions has exactly one owner"),
        ("produce", "one more: partition"),
        ("periodic_flush", "44850 cents in "),
        ("enrichment", "300 orders priced; the service refused"),
        ("database_writer", "1000 orders in the database, 349500 cents"),
        ("retries", "99 paid, 1 refused, none lost"),
    ] {
        says(name, &[], expected);
    }
}

#[test]
fn the_shop_goes_on_after_kill_9_and_its_books_agree() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    for seconds in [2, 3] {
        let mut shop =
            example("shop").args(["--dir", &path]).stdout(Stdio::null()).spawn().expect("starts");
        thread::sleep(Duration::from_secs(seconds));
        shop.kill().expect("killed");
        shop.wait().expect("ended");
    }
    says("shop", &["--dir", &path], "nothing lost, nothing twice");
}

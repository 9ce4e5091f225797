//! First attempts that do not compile: the compiler's error is short, and names the method to use.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A key that is a struct.
const STRUCT_KEY: &str = r#"
    #[derive(Clone)]
    struct Place { town: String }
    app.stream(&words)
        .group_by("by-town", |_, town| Place { town: town.clone() })
        .count(&Table::with("seen", Places, codec::Bytes))
        .updates()
        .map(|place, count| (place.town, count))
        .to(&counts);

    struct Places;
    impl codec::Codec<Place> for Places {
        fn encode(&self, place: &Place, out: &mut Vec<u8>) -> Result<bool, CodecError> {
            out.extend_from_slice(place.town.as_bytes());
            Ok(true)
        }
        fn decode(&self, bytes: Option<&[u8]>) -> Result<Place, CodecError> {
            Ok(Place { town: String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned() })
        }
    }
"#;

/// A value without serde's traits.
const NO_SERDE: &str = r#"
    struct Order { customer: String }
    let orders = Topic::<String, Order>::json("orders");
    app.stream(&orders).map_values(|order| order.customer).to(&words);
"#;

const AGGREGATION: &str = r#"
    let sums = app.stream(&words).group_by_key().aggregate(
        &Table::<String, u64>::new("lengths"),
        || 0,
        |sum, _, word| *sum += word.len() as u64,
    );
    sums.map_values(|sum| sum * 2).to(&counts);
"#;

const WINDOWS: &str = r#"
    let minute = std::time::Duration::from_secs(60);
    let windows = app.stream(&words).group_by_key().window(Tumbling::of(minute));
    windows
        .count(&Table::new("per-minute"))
        .map(|window, count| (window.key, count))
        .to(&counts);
"#;

const NOT_GROUPED: &str = r#"
    app.stream(&words).count(&Table::new("seen")).to(&counts);
"#;

const GROUPED: &str = r#"
    app.stream(&words).group_by_key().filter(|_, word| word.len() > 3);
"#;

const NO_CODEC: &str = r#"
    struct Order;
    let orders = Topic::<String, Order>::with("orders", codec::Bytes, codec::Bytes);
    app.stream(&orders).map_values(|_| String::new()).to(&words);
"#;

#[test]
fn a_struct_as_a_key() {
    let error = error_of(STRUCT_KEY);
    assert_says(&error, "`Place` needs a codec to be a key here", 31);
    assert!(error.contains("Repartition::new(name, key_codec, value_codec)"), "{error}");
    compiles(&STRUCT_KEY.replace(
        r#".group_by("by-town", |_, town| Place { town: town.clone() })"#,
        r#".group_by(
            Repartition::new("by-town", Places, codec::Bytes),
            |_, town| Place { town: town.clone() },
        )"#,
    ));
}

#[test]
fn a_value_without_serde() {
    let error = error_of(NO_SERDE);
    assert_says(&error, "`Order` cannot be written as JSON and read back", 25);
    assert!(error.contains("#[derive(serde::Serialize, serde::Deserialize)]"), "{error}");
}

#[test]
fn a_stream_of_an_aggregation() {
    let error = error_of(AGGREGATION);
    assert_says(&error, "choose what it sends", 30);
    assert!(error.contains("put `.updates()` in front of this"), "{error}");
    compiles(&AGGREGATION.replace("sums.map_values", "sums.updates().map_values"));
}

#[test]
fn a_stream_of_windows() {
    let error = error_of(WINDOWS);
    assert_says(&error, "choose what it sends", 30);
    assert!(error.contains("put `.updates()` or `.closed()` in front of this"), "{error}");
    compiles(&WINDOWS.replace(".map(", ".closed().map("));
}

#[test]
fn an_aggregation_of_a_stream() {
    let error = error_of(NOT_GROUPED);
    assert_says(&error, "group the stream first", 25);
    assert!(error.contains("put `.group_by_key()` or `.group_by(name, key)` in front"), "{error}");
    compiles(&NOT_GROUPED.replace(".count", ".group_by_key().count"));
}

#[test]
fn a_stream_of_a_grouping() {
    let error = error_of(GROUPED);
    assert_says(&error, "grouped records can only be counted, reduced, aggregated", 30);
}

#[test]
fn a_codec_for_other_types() {
    let error = error_of(NO_CODEC);
    assert_says(&error, "is not a codec for `Order`", 35);
    assert!(error.contains("`Json` for what implements serde's traits"), "{error}");
}

fn assert_says(error: &str, what: &str, lines_max: usize) {
    assert!(error.contains(what), "{error}");
    let lines = error.lines().count();
    assert!(lines <= lines_max, "{lines} lines:\n{error}");
    assert!(error.contains("due to 1 previous error"), "a second error follows:\n{error}");
}

fn error_of(code: &str) -> String {
    let (is_ok, output) = compile(code);
    assert!(!is_ok, "it compiles:\n{code}");
    output
}

fn compiles(code: &str) {
    let (is_ok, output) = compile(code);
    assert!(is_ok, "{output}");
}

/// Type-checks a program with the library that this test is linked with.
fn compile(code: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("main.rs");
    let text = format!(
        "#![allow(unused, dead_code)]
use headwater::prelude::*;
use headwater::codec;
use headwater::codec::CodecError;
fn main() -> Result<(), Box<dyn std::error::Error>> {{
    let words = Topic::<String, String>::new(\"words\");
    let counts = Topic::<String, u64>::new(\"counts\");
    let app = Builder::new(\"first-try\");
{code}
    app.build()?;
    Ok(())
}}
"
    );
    std::fs::write(&source, text).unwrap();
    let libraries = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler)
        .args(["--edition=2024", "--emit=metadata", "--color=never", "-L"])
        .arg(format!("dependency={}", libraries.display()))
        .arg(format!("--extern=headwater={}", library(&libraries).display()))
        .arg("-o")
        .arg(directory.path().join("main.rmeta"))
        .arg(&source)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The library as it was built last; with other features it has the same methods.
fn library(directory: &Path) -> PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hash = name.strip_prefix("libheadwater-").and_then(|rest| rest.strip_suffix(".rlib"));
        hash.is_some_and(|hash| !hash.contains('-'))
    };
    let built = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).unwrap();
    files.filter(is_ours).max_by_key(built).expect("the library that this test is linked with")
}

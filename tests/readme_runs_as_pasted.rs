//! The README's program, pasted into a new crate with the README's dependencies, compiles and runs.

use std::path::Path;
use std::process::Command;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The first block of code in `language`.
fn block<'a>(document: &'a str, language: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n```{language}\n")).expect("a block of code");
    rest.split_once("\n```").expect("the end of the block").0
}

#[test]
fn the_readme_runs_as_pasted() {
    let top = Path::new(TOP);
    let readme = std::fs::read_to_string(top.join("README.md")).expect("README.md");
    let package = "[package]\nname = \"pasted\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let dependencies = block(&readme, "toml").replace("../headwater", TOP);

    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file of the new crate");
    };
    std::fs::create_dir(folder.path().join("src")).expect("src");
    write("Cargo.toml", &format!("{package}\n{dependencies}\n"));
    write("src/main.rs", block(&readme, "rust"));
    // The versions that are already downloaded, so that no network is needed.
    write("Cargo.lock", &std::fs::read_to_string(top.join("Cargo.lock")).expect("Cargo.lock"));

    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline"])
        .current_dir(folder.path())
        // A folder that outlives the test: only the first run compiles the dependencies.
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .output()
        .expect("cargo runs");
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}\n{text}");
    let mut counts: Vec<&str> = text.lines().collect();
    counts.sort_unstable();
    assert_eq!(counts, ["be: 1", "be: 2", "not: 1", "or: 1", "to: 1", "to: 2"], "{errors}");
}

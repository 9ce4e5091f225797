//! The programs of README and tutorial, pasted into new crates with the dependencies that the
//! documents name, compile and run.

use std::path::Path;
use std::process::Command;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// A new crate, and the folder that ends with it.
struct Pasted(tempfile::TempDir);

impl Pasted {
    /// With the document's first block of TOML, and all its blocks of Rust one after the other.
    fn from(document: &str) -> Self {
        let top = Path::new(TOP);
        let text = std::fs::read_to_string(top.join(document)).expect("the document");
        let package = "[package]\nname = \"pasted\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        let dependencies = blocks(&text, "toml")[0].replace("../headwater", TOP);

        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file of the new crate");
        };
        std::fs::create_dir(folder.path().join("src")).expect("src");
        write("Cargo.toml", &format!("{package}\n{dependencies}\n"));
        write("src/main.rs", &blocks(&text, "rust").join("\n"));
        // The versions that are already downloaded, so that no network is needed.
        let lock = std::fs::read_to_string(top.join("Cargo.lock")).expect("Cargo.lock");
        write("Cargo.lock", &lock);
        Self(folder)
    }

    /// What Cargo prints on standard output. It must succeed.
    fn cargo(&self, command: &str) -> String {
        let output = Command::new(env!("CARGO"))
            .args([command, "--quiet", "--offline"])
            .current_dir(self.0.path())
            // A folder that outlives the test: only the first run compiles the dependencies.
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("pasted"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .output()
            .expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo {command}: {errors}\n{text}");
        text
    }
}

/// All blocks of code in `language`, whatever else is said about them.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let start = format!("\n```{language}");
    let starts = document.split(&start).skip(1);
    let bodies = starts.filter_map(|rest| rest.split_once('\n'));
    bodies.filter_map(|(_, rest)| rest.split_once("\n```")).map(|(code, _)| code.into()).collect()
}

#[test]
fn the_readme_runs_as_pasted() {
    let text = Pasted::from("README.md").cargo("run");
    let mut counts: Vec<&str> = text.lines().collect();
    counts.sort_unstable();
    assert_eq!(counts, ["be: 1", "be: 2", "not: 1", "or: 1", "to: 1", "to: 2"]);
}

#[test]
fn the_tutorial_runs_as_pasted() {
    let tutorial = Pasted::from("docs/guide/tutorial.md");
    tutorial.cargo("test");
    let last_of = |text: &str, customer: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.rfind(|(of, _)| *of == customer).map(|(_, cents)| cents.to_owned())
    };
    for (ada, bob) in [("1000", "500"), ("2000", "1000")] {
        let text = tutorial.cargo("run");
        assert_eq!(last_of(&text, "ada").as_deref(), Some(ada), "{text}");
        assert_eq!(last_of(&text, "bob").as_deref(), Some(bob), "{text}");
    }
}

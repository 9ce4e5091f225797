//! The public interface is a file of the repository (`docs/interface`), so that a change to it
//! shows in review. After a change that is meant:
//!
//!     HEADWATER_ACCEPT=1 cargo test --no-default-features --features embedded \
//!         --test public_interface
#![allow(clippy::unwrap_used)]

mod exports;
mod items;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use exports::Export;
use items::Items;

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files of a crate's `src`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn items_of(crates: &[&str]) -> Items {
    let mut files = Vec::new();
    for name in crates {
        sources(&top().join("crates").join(name).join("src"), &mut files);
    }
    let parsed = files.iter().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    });
    let parsed: Vec<_> = parsed.collect();
    let mut items = Items::default();
    parsed.iter().for_each(|file| items.add_macros(file));
    parsed.iter().for_each(|file| items.add(file));
    items
}

/// What a crate exports, module by module, each item where it is exported first.
fn interface(name: &str, crates: &[&str]) -> String {
    let root = top().join("crates").join(name).join("src");
    let exports = exports::of(&root);
    let items = items_of(crates);
    let mut text = String::new();
    let mut module = None;
    let mut printed = Vec::new();
    for Export { path, name } in exports {
        if module.as_ref() != Some(&path) {
            writeln!(text, "\n// {path}\n").unwrap();
            module = Some(path);
        }
        if printed.contains(&name) {
            writeln!(text, "// {name}: see above").unwrap();
            continue;
        }
        let stub = items.stub(&name);
        assert!(!stub.is_empty(), "{name} is exported, and no source defines it");
        text.push_str(&stub);
        text.push('\n');
        printed.push(name);
    }
    text.trim_start().to_owned()
}

fn check(name: &str, crates: &[&str]) {
    let path = top().join("docs/interface").join(format!("{name}.txt"));
    let now = interface(name, crates);
    if std::env::var_os("HEADWATER_ACCEPT").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let changed = now.lines().zip(kept.lines()).find(|(now, kept)| now != kept);
    let (line, was) = changed.unwrap_or(("the end", "the end"));
    assert!(
        now == kept,
        "the public interface is not what docs/interface/{name}.txt says: first `{line}`, where it \
         was `{was}`. If that is meant, run this test with HEADWATER_ACCEPT=1 and commit the file"
    );
}

#[test]
fn a_change_to_the_library_shows() {
    check("headwater", &["headwater", "streams-core", "runtime"]);
}

#[test]
fn a_change_to_the_testkit_shows() {
    check("testkit", &["testkit"]);
}

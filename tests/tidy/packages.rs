//! What a registry shows of a crate, and what `./dev help` shows of the scripts.

use crate::tree::File;

/// Keys that a package for a registry has.
const KEYS: [&str; 7] =
    ["description", "keywords", "categories", "readme", "license", "rust-version", "version"];

/// Every package that may be published says what a registry shows.
pub(crate) fn metadata(manifest: &File) -> Vec<String> {
    let package = manifest.text.lines().skip_while(|line| *line != "[package]").skip(1);
    let package: Vec<&str> = package.take_while(|line| !line.starts_with('[')).collect();
    if package.is_empty() || package.contains(&"publish = false") {
        return Vec::new();
    }
    let has = |key: &str| {
        let mut rest = package.iter().filter_map(|line| line.strip_prefix(key));
        rest.any(|rest| rest.starts_with([' ', '.']))
    };
    let lacking = KEYS.iter().filter(|key| !has(key));
    lacking.map(|key| format!("{}: no {key}", manifest.path)).collect()
}

/// A dependency on a crate of ours has a version, or a registry refuses it. `headwater` and
/// `testkit` have none, as the workspace says.
pub(crate) fn versions(workspace: &File) -> Vec<String> {
    let ours = workspace.text.lines().filter(|line| line.contains("{ path = \"crates/"));
    let is_for_tests =
        |line: &str| ["headwater ", "testkit "].iter().any(|name| line.starts_with(name));
    let lacking = ours.filter(|line| !line.contains("version = ") && !is_for_tests(line));
    lacking.map(|line| format!("{}: no version: {line}", workspace.path)).collect()
}

/// `help` names every command that the usage of `./dev kafka` has.
pub(crate) fn commands(help: &str, usage: &str) -> Vec<String> {
    let lines = usage.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = lines
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|line| !line.contains(['(', '=', ';']))
        .filter_map(|line| line.split(' ').next());
    let absent = commands.filter(|command| !help.contains(*command));
    absent.map(|command| format!("dev: help lacks kafka {command}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "Cargo.toml".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_key_that_a_registry_needs_is_missed() {
        let keys = "description = \"\"\nkeywords = []\ncategories = []\nreadme.workspace = true\n";
        let rest = "license.workspace = true\nrust-version.workspace = true\n";
        let whole = format!("[package]\n{keys}{rest}version.workspace = true\n");
        assert_eq!(metadata(&file(&whole)), [""; 0]);
        let lacking = format!("[package]\n{keys}{rest}\n[other]\nversion = \"1\"\n");
        assert_eq!(metadata(&file(&lacking)), ["Cargo.toml: no version"]);
        assert_eq!(metadata(&file("[package]\npublish = false\n")), [""; 0]);
    }

    #[test]
    fn a_path_without_version_is_found() {
        let with =
            "a = { path = \"crates/a\", version = \"1\" }\ntestkit = { path = \"crates/t\" }";
        assert_eq!(versions(&file(with)), [""; 0]);
        assert_eq!(versions(&file("a = { path = \"crates/a\" }")).len(), 1);
    }

    #[test]
    fn a_command_that_help_lacks_is_found() {
        let usage = "usage:\n\n  start [--keep]  starts it\n  topics    lists\n    more words\n";
        assert_eq!(commands("start topics", usage), [""; 0]);
        assert_eq!(commands("start", usage), ["dev: help lacks kafka topics"]);
    }
}

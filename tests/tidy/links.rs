//! Links between documents lead somewhere, and every promise to its test.

use std::collections::BTreeMap;

use crate::tree::File;

/// Every relative link leads to a file or folder of the checkout, and its anchor to a heading.
pub(crate) fn lead_somewhere(all: &[File]) -> Vec<String> {
    let paths: BTreeMap<&str, &str> =
        all.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let documents = all.iter().filter(|file| file.path.ends_with(".md"));
    let broken = |file: &File| {
        let targets = targets(&file.text).into_iter();
        let problem = |(line, target): (usize, String)| {
            let why = why_broken(&file.path, &target, &paths)?;
            Some(format!("{}:{line}: {target}: {why}", file.path))
        };
        targets.filter_map(problem).collect::<Vec<_>>()
    };
    documents.flat_map(broken).collect()
}

/// Each row of each table names at least one test that exists: a link to a file with tests in it,
/// or to a folder of them. Rows of headings have no link and are followed by a rule.
pub(crate) fn rows_have_tests(document: &File, all: &[File]) -> Vec<String> {
    let lines: Vec<&str> = document.text.lines().collect();
    let is_row = |at: &usize| {
        let next_is_rule = lines.get(at + 1).is_some_and(|line| line.starts_with("| ---"));
        lines[*at].starts_with("| ") && !lines[*at].starts_with("| ---") && !next_is_rule
    };
    let rows: Vec<usize> = (0..lines.len()).filter(is_row).collect();
    if rows.is_empty() {
        return vec![format!("{}: no row", document.path)];
    }
    let has_test = |row: &usize| {
        let links = targets(lines[*row]);
        let paths = links.iter().map(|(_, target)| resolve(&document.path, target));
        paths.into_iter().any(|path| holds_a_test(&path, all))
    };
    let lacking = rows.iter().filter(|row| !has_test(row));
    lacking.map(|row| format!("{}:{}: no test is named", document.path, row + 1)).collect()
}

/// How a file with tests looks. The last one is the suite for transports, a macro.
const MARKS_OF_TESTS: [&str; 4] =
    ["#[test]", "#[tokio::test", "proptest!", "testkit::transport_conformance!"];

fn holds_a_test(path: &str, all: &[File]) -> bool {
    let folder = format!("{path}/");
    let mut files =
        all.iter().filter(|file| file.path == path || file.path.starts_with(folder.as_str()));
    files.any(|file| MARKS_OF_TESTS.iter().any(|mark| file.text.contains(mark)))
}

/// Ends of names in code that mean a file of ours.
const OUR_ENDS: [&str; 2] = [".rs", ".sh"];

/// A file that a document names as code (`worker/commit.rs`) exists: the end of some file's path.
/// A pattern with `*` is none.
pub(crate) fn names_exist(document: &File, all: &[File]) -> Vec<String> {
    let is_ours = |name: &&str| {
        let ends = OUR_ENDS.iter().any(|end| name.ends_with(end));
        ends && !name.contains(['*', ' ', '<', '{'])
    };
    let is_there = |name: &str| {
        let end = format!("/{name}");
        all.iter().any(|file| file.path == name || file.path.ends_with(&end))
    };
    let mut violations = Vec::new();
    for (at, line) in outside_of_code(&document.text) {
        let names = line.split('`').skip(1).step_by(2).filter(is_ours);
        let absent = names.filter(|name| !is_there(name));
        violations.extend(absent.map(|name| format!("{}:{at}: there is no {name}", document.path)));
    }
    violations
}

/// The lines outside of blocks of code, with their numbers.
fn outside_of_code(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let numbered = markdown.lines().enumerate().map(|(at, line)| (at + 1, line));
    numbered.filter(move |(_, line)| {
        is_code ^= line.trim_start().starts_with("```");
        !is_code && !line.starts_with("    ")
    })
}

fn why_broken(from: &str, target: &str, paths: &BTreeMap<&str, &str>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { from.to_owned() } else { resolve(from, path) };
    let folder = format!("{path}/");
    let Some(text) = paths.get(path.as_str()) else {
        let is_folder = paths.keys().any(|file| file.starts_with(folder.as_str()));
        return (!is_folder).then(|| format!("{path} does not exist"));
    };
    let is_there = anchor.is_empty() || headings(text).iter().any(|heading| heading == anchor);
    (!is_there).then(|| format!("{path} has no heading #{anchor}"))
}

/// The path from the top that a link in `from` means.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('#').next().unwrap_or_default().trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Where links lead, with their lines: `[text](target)`, and `[name]: target` on a line of its own.
fn targets(markdown: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (at, line) in outside_of_code(markdown) {
        let text: String = line.split('`').step_by(2).collect();
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.extend(inline.map(|(target, _)| (at, target.to_owned())));
        if let Some((name, target)) = text.split_once("]: ")
            && name.starts_with('[')
            && !target.contains(' ')
        {
            targets.push((at, target.to_owned()));
        }
    }
    targets
}

/// The anchors of a document's headings, as hosts of repositories make them.
fn headings(markdown: &str) -> Vec<String> {
    let lines = outside_of_code(markdown).map(|(_, line)| line);
    let headings = lines.filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#').trim())).collect()
}

fn slug(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn broken(text: &str) -> usize {
        let other = file("docs/other.md", "# One `two`, three\n```\n# no heading\n```\n");
        let all = [file("docs/a.md", text), other, file("src/lib.rs", "")];
        lead_somewhere(&all).len()
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        for text in [
            "[x](none.md)",
            "[x](../docs/none.md) and [y](other.md)",
            "[x](other.md#two)",
            "[x](other.md#no-heading)",
            "[x](#none)",
            "[x]: none.md",
        ] {
            assert_eq!(broken(text), 1, "{text}");
        }
        for text in [
            "[x](other.md)",
            "[x](../docs/other.md#one-two-three)",
            "[x](../src) [y](../src/lib.rs)",
            "# Here\n[x](#here)",
            "[x](https://a.b/c) `[y](none.md)`",
            "[x]: other.md",
        ] {
            assert_eq!(broken(text), 0, "{text}");
        }
    }

    #[test]
    fn a_name_of_no_file_is_found() {
        let all = [file("crates/a/src/worker/commit.rs", "")];
        let of = |text: &str| names_exist(&file("a.md", text), &all).len();
        assert_eq!(of("`commit.rs`, `worker/commit.rs`, `crates/a/src/worker/commit.rs`"), 0);
        assert_eq!(of("`*_commit.rs` `a b.rs`\n```\n`x.rs`\n```\n"), 0);
        assert_eq!(of("see `mit.rs` and `worker/gone.rs`"), 2);
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        let all = [file("tests/a.rs", "#[test]\nfn a() {}"), file("src/b.rs", "fn b() {}")];
        let of = |rows: &str| {
            let text = format!("| promise | shown by |\n| --- | --- |\n{rows}");
            rows_have_tests(&file("docs/p.md", &text), &all).len()
        };
        assert_eq!(of("| a | [a](../tests/a.rs) |\n"), 0);
        assert_eq!(of("| a | [a](../tests) |\n"), 0);
        assert_eq!(of("| a | `a` |\n"), 1);
        assert_eq!(of("| a | [a](../tests/none.rs) |\n"), 1);
        assert_eq!(of("| a | [b](../src/b.rs) |\n"), 1);
        assert_eq!(of(""), 1);
    }
}

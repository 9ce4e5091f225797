//! Rules that tie documents to the code.

use crate::tree::File;

/// Folders of one person's machine. In halves, so that this file does not break its own rule.
const MACHINE_FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/t", "mp/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
];

/// Every member of the workspace stands in the map by its path.
pub(crate) fn crates_on_the_map(manifest: &str, map: &str) -> Vec<String> {
    let members = manifest.lines().skip_while(|line| *line != "members = [").skip(1);
    let members =
        members.take_while(|line| *line != "]").map(|line| line.trim_matches([' ', '"', ',']));
    let mut members = members.peekable();
    if members.peek().is_none() {
        return vec!["Cargo.toml: no members found".to_owned()];
    }
    members
        .filter(|member| !map.contains(&format!("`{member}`")))
        .map(|member| format!("docs/ARCHITECTURE.md: `{member}` is missing"))
        .collect()
}

/// A block of code after `<!-- examples/x.rs -->` is that file, or some consecutive lines of it.
/// Every block of Rust must say where it comes from.
pub(crate) fn quotations(document: &File, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut source = None;
    let mut lines = document.text.lines();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            source = Some(path);
        } else if line.starts_with("```rust") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            violations.extend(quotation(source.take(), &code, &read));
        } else if !line.is_empty() {
            violations.extend(source.take().map(|path| format!("no code follows {path}")));
        }
    }
    violations.iter().map(|violation| format!("{}: {violation}", document.path)).collect()
}

fn quotation(
    source: Option<&str>,
    code: &[&str],
    read: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let first = code.first()?;
    let Some(path) = source else {
        return Some(format!("no comment names the file of the code `{first}`"));
    };
    let Some(text) = read(path) else {
        return Some(format!("{path} does not exist"));
    };
    let lines: Vec<&str> = text.lines().collect();
    let is_quoted = lines.windows(code.len()).any(|window| same_except_for_indent(window, code));
    (!is_quoted).then(|| format!("the code from {path} is not in it: `{first}`"))
}

/// An excerpt from inside a function stands at the margin in the document.
fn same_except_for_indent(file: &[&str], code: &[&str]) -> bool {
    let Some(indent) = file[0].strip_suffix(code[0]) else { return false };
    let strip = |line: &&str| line.strip_prefix(indent).unwrap_or(line).to_owned();
    indent.trim().is_empty() && file.iter().map(strip).eq(code.iter().copied())
}

/// An absolute path into such a folder; `target/tmp/x` is none.
pub(crate) fn machine_paths(file: &File) -> Vec<String> {
    let is_path_before = |c: char| c.is_alphanumeric() || "._-})".contains(c);
    let mut violations = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for folder in MACHINE_FOLDERS {
            let mut found = line.match_indices(folder);
            if found.any(|(start, _)| !line[..start].ends_with(is_path_before)) {
                violations.push(format!("{}:{}: {folder}", file.path, at + 1));
            }
        }
    }
    violations
}

/// Crates that a user of the facade does not depend on: an example that imports one cannot be
/// pasted.
const INTERNAL: [&str; 6] = [
    "headwater_streams_core",
    "headwater_runtime",
    "headwater_state",
    "streams_core",
    "runtime",
    "state",
];

/// Examples in the documentation import what a user's program can, and show that they do.
pub(crate) fn imports_of_examples(file: &File) -> Vec<String> {
    let imports = file.text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?.trim_start();
        let (is_hidden, text) = match text.strip_prefix("# ") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let name = text.strip_prefix("use ")?.split("::").next()?;
        let is_ours = name.starts_with("headwater") || INTERNAL.contains(&name);
        let why = match (INTERNAL.contains(&name), is_hidden && is_ours) {
            (true, _) => "is no crate of the user's",
            (false, true) => "is hidden: who pastes the example has no import",
            (false, false) => return None,
        };
        text.ends_with(';').then(|| format!("{}:{}: `use {name}` {why}", file.path, at + 1))
    });
    imports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_that_nobody_can_paste_is_found() {
        let of = |text: &str| {
            let file = File { path: "a.rs".to_owned(), text: text.to_owned() };
            imports_of_examples(&file).len()
        };
        assert_eq!(of("/// use headwater::Builder;\n/// use std::fmt;\nuse runtime::App;"), 0);
        assert_eq!(of("/// use streams_core::Builder;"), 1);
        assert_eq!(of("    //! # use headwater_runtime::Config;"), 1);
        assert_eq!(of("/// # use headwater_testkit::TopologyTest;"), 1);
        assert_eq!(of("/// Those who use state::all of it."), 0);
    }

    #[test]
    fn a_crate_that_the_map_forgot_is_found() {
        let manifest = "[workspace]\nmembers = [\n    \"crates/a\",\n    \"b\",\n]\n";
        assert!(crates_on_the_map(manifest, "`crates/a` and `b`").is_empty());
        let found = crates_on_the_map(manifest, "`crates/a` and crates/b");
        assert_eq!(found, ["docs/ARCHITECTURE.md: `b` is missing"]);
        assert_eq!(crates_on_the_map("", "").len(), 1);
    }

    fn quoted(text: &str) -> Vec<String> {
        let file = "fn main() {\n    let a = 1;\n\n    if a {\n        b();\n    }\n}\n";
        let document = File { path: "a.md".to_owned(), text: text.to_owned() };
        quotations(&document, |path| (path == "examples/a.rs").then(|| file.to_owned()))
    }

    #[test]
    fn a_quotation_is_some_lines_of_the_file() {
        let all = "<!-- examples/a.rs -->\n```rust\nfn main() {\n    let a = 1;\n```\n";
        assert!(quoted(all).is_empty(), "{:?}", quoted(all));
        let inner = "<!-- examples/a.rs -->\n```rust\nlet a = 1;\n\nif a {\n    b();\n}\n```\n";
        assert!(quoted(inner).is_empty(), "{:?}", quoted(inner));
    }

    #[test]
    fn a_quotation_that_is_not_in_the_file_is_found() {
        for wrong in [
            "<!-- examples/a.rs -->\n```rust\nlet a = 2;\n```\n",
            "<!-- examples/a.rs -->\n```rust\nlet a = 1;\nif a {\n```\n",
            "<!-- examples/b.rs -->\n```rust\nfn main() {\n```\n",
            "```rust\nfn main() {\n```\n",
            "<!-- examples/a.rs -->\nwords\n",
        ] {
            assert_eq!(quoted(wrong).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn a_path_of_a_machine_is_found_and_a_relative_one_is_none() {
        for folder in MACHINE_FOLDERS {
            let file = |text| File { path: "a.md".to_owned(), text };
            assert_eq!(
                machine_paths(&file(format!("x\nsee {folder}x"))),
                [format!("a.md:2: {folder}")]
            );
            assert!(machine_paths(&file(format!("target{folder}x"))).is_empty());
        }
    }
}

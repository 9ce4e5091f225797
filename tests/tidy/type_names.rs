//! A name of a type has one meaning in the workspace.

use std::collections::BTreeMap;

use crate::tree::File;

/// Names that still have several meanings. This list may only shrink.
const SEVERAL_MEANINGS: [&str; 14] = [
    "Added",
    "Cluster",
    "Codec",
    "Context",
    "Failure",
    "Header",
    "Outcome",
    "Output",
    "RecordBatch",
    "Records",
    "Settings",
    "State",
    "Topic",
    "Verdict",
];

/// The same thing in programs that share no code: the jobs of the race, the benchmarks and the
/// examples. `App` of the facade is the runtime's with its log and its stores.
const SAME_THING: [&str; 7] = ["App", "Enriched", "Job", "Order", "Sales", "Shipment", "Total"];

pub(crate) fn check(files: &[File]) -> Vec<String> {
    let defined = definitions(files);
    let mut violations = check_list(&defined, &SEVERAL_MEANINGS);
    violations.retain(|violation| !SAME_THING.iter().any(|name| is_about(violation, name)));
    violations
}

fn is_about(violation: &str, name: &str) -> bool {
    violation.strip_prefix(name).is_some_and(|rest| rest.starts_with(" is defined"))
}

/// Names with several definitions that are not on the list, and names on the list with one.
fn check_list(defined: &BTreeMap<String, Vec<String>>, listed: &[&str]) -> Vec<String> {
    let is_repeated = |name: &str| defined.get(name).is_some_and(|places| places.len() > 1);
    let stale = listed.iter().filter(|name| !is_repeated(name));
    let stale = stale.map(|name| format!("tests/tidy/type_names.rs: take `{name}` off the list"));
    let repeated = defined
        .iter()
        .filter(|(name, places)| places.len() > 1 && !listed.contains(&name.as_str()))
        .map(|(name, places)| format!("{name} is defined in {}", places.join(", ")));
    repeated.chain(stale).collect()
}

/// The types that are defined outside of tests, each with its places.
fn definitions(files: &[File]) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let is_test = |path: &str| path.starts_with("tests/") || path.contains("/tests/");
    for file in files.iter().filter(|file| file.path.ends_with(".rs") && !is_test(&file.path)) {
        let lines = file.text.lines().take_while(|line| *line != "#[cfg(test)]");
        for name in lines.filter_map(defined_type) {
            all.entry(name.to_owned()).or_default().push(file.path.clone());
        }
    }
    all
}

fn defined_type(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let kind = words.next()?;
    let is_type = ["struct", "enum", "trait", "union"].contains(&kind);
    let name = words.next().filter(|_| is_type)?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_name_with_two_definitions_is_found() {
        let files = [
            file("a.rs", "pub(crate) struct Log<'a> {\n"),
            file("b.rs", "    pub trait Log: Send {\nenum Other;\n"),
        ];
        let defined = definitions(&files);
        assert_eq!(check_list(&defined, &[]), ["Log is defined in a.rs, b.rs"]);
        assert!(check_list(&defined, &["Log"]).is_empty());
        let stale = check_list(&defined, &["Log", "Other"]);
        assert_eq!(stale, ["tests/tidy/type_names.rs: take `Other` off the list"]);
    }

    #[test]
    fn tests_and_sentences_define_nothing() {
        let files = [
            file("a.rs", "struct Log;\n#[cfg(test)]\nstruct Log;\n"),
            file("tests/a.rs", "struct Log;\n"),
            file("crates/x/tests/a.rs", "struct Log;\n"),
            file("b.rs", "// struct Log\nlet structure = 1;\n"),
        ];
        assert!(check_list(&definitions(&files), &[]).is_empty());
    }
}

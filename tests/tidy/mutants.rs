//! A planted bug is a text that occurs once in the file it names, and a suite that exists. A list
//! that does not follow the code would plant nothing.

use std::collections::BTreeMap;

use crate::tree::File;

const FOLDER: &str = "tests/mutants/";

pub(crate) fn check(files: &[File]) -> Vec<String> {
    let texts: BTreeMap<_, _> =
        files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let lists = files.iter().filter(|file| file.path.starts_with(FOLDER));
    lists.flat_map(|list| check_list(list, &texts)).collect()
}

/// The text that the bugs of one file have left of it, so that a bug may change what it has
/// changed before.
struct Planted {
    path: String,
    text: String,
}

fn check_list(list: &File, texts: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut complain =
        |at: usize, what: String| violations.push(format!("{}:{}: {what}", list.path, at + 1));
    let mut planted: Vec<Planted> = Vec::new();
    let mut current = None;
    let mut old = None;
    for (at, line) in list.text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("= ") {
            planted.clear();
            current = None;
            old = None;
            if name.trim().is_empty() {
                complain(at, "a bug has no name".to_owned());
            }
        } else if let Some(arguments) = line.strip_prefix("suite ") {
            for name in missing_suites(arguments, texts) {
                complain(at, format!("there is no test {name}"));
            }
        } else if let Some(text) = line.strip_prefix("- ") {
            let text = text.replace("\\n", "\n");
            let found = current.map_or(0, |index: usize| count(&planted[index].text, &text));
            if found != 1 {
                complain(at, format!("occurs {found} times: {}", text.trim()));
            }
            old = Some(text).filter(|_| found == 1);
        } else if let Some(text) = line.strip_prefix("+ ") {
            if let Some((index, old)) = current.zip(old.take()) {
                planted[index].text =
                    planted[index].text.replacen(&old, &text.replace("\\n", "\n"), 1);
            }
        } else if line.ends_with(".rs") && !line.contains(' ') {
            current = position(&mut planted, line, texts);
            if current.is_none() {
                complain(at, format!("there is no {line}"));
            }
        }
    }
    violations
}

fn position(planted: &mut Vec<Planted>, path: &str, texts: &BTreeMap<&str, &str>) -> Option<usize> {
    let known = planted.iter().position(|file| file.path == path);
    known.or_else(|| {
        let text = (*texts.get(path)?).to_owned();
        planted.push(Planted { path: path.to_owned(), text });
        Some(planted.len() - 1)
    })
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// The test programs of a `cargo test` that no folder of tests has.
fn missing_suites(arguments: &str, texts: &BTreeMap<&str, &str>) -> Vec<String> {
    let words: Vec<_> = arguments.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| pair[0] == "--test").map(|pair| pair[1]);
    let is_there = |name: &&str| {
        let ends = [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")];
        texts
            .keys()
            .any(|path| ends.iter().any(|end| path == end || path.ends_with(&format!("/{end}"))))
    };
    named.filter(|name| !is_there(name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(list: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let code = "fn a() {\n    one();\n    two();\n    two();\n}\n";
        check(&[
            file("src/a.rs", code),
            file("tests/models.rs", ""),
            file("tests/mutants/a.txt", list),
        ])
    }

    #[test]
    fn a_bug_that_can_be_planted_is_no_violation() {
        assert!(checked("suite --test models\n= a\nsrc/a.rs\n- one();\\n\n+ \n").is_empty());
    }

    #[test]
    fn a_bug_may_change_what_it_has_changed() {
        assert!(checked("= a\nsrc/a.rs\n- one();\n+ three();\n- three();\n+ four();\n").is_empty());
    }

    #[test]
    fn a_text_that_is_gone_or_repeated_is_found() {
        assert_eq!(checked("= a\nsrc/a.rs\n- three();\n+ x\n").len(), 1);
        assert_eq!(checked("= a\nsrc/a.rs\n- two();\n+ x\n").len(), 1);
    }

    #[test]
    fn a_missing_file_or_suite_is_found() {
        assert_eq!(checked("= a\nsrc/b.rs\n"), ["tests/mutants/a.txt:2: there is no src/b.rs"]);
        assert_eq!(
            checked("suite --test gone\n"),
            ["tests/mutants/a.txt:1: there is no test gone"]
        );
    }
}

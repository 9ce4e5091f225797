//! Rules about one Rust file. They rely on `cargo fmt`: a function ends at its own indentation.

use crate::tree::File;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;
const EXAMPLE_LINES_MAX: usize = 119;

/// Written in two halves, so that this file does not break its own rule.
const LEFTOVERS: [&str; 4] = [
    concat!("to", "do!("),
    concat!("un", "implemented!("),
    concat!("d", "bg!("),
    concat!("#[ig", "nore"),
];

/// Unit tests at the end of a file do not count.
pub(crate) fn file_length(file: &File) -> Vec<String> {
    let lines = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    let path = &file.path;
    over(lines, FILE_LINES_MAX, || format!("{path}: {lines} lines, at most {FILE_LINES_MAX}"))
}

pub(crate) fn example_length(file: &File) -> Vec<String> {
    if !file.path.starts_with("examples/") {
        return Vec::new();
    }
    let path = &file.path;
    let lines = file.text.lines().count();
    over(lines, EXAMPLE_LINES_MAX, || format!("{path}: {lines} lines, at most {EXAMPLE_LINES_MAX}"))
}

fn over(number: usize, limit: usize, words: impl Fn() -> String) -> Vec<String> {
    if number > limit { vec![words()] } else { Vec::new() }
}

pub(crate) fn line_length(file: &File) -> Vec<String> {
    numbered(&file.text)
        .filter(|(_, line)| line.chars().count() > LINE_COLUMNS_MAX)
        .map(|(number, line)| {
            let columns = line.chars().count();
            format!("{}:{number}: {columns} columns, at most {LINE_COLUMNS_MAX}", file.path)
        })
        .collect()
}

pub(crate) fn leftovers(file: &File) -> Vec<String> {
    numbered(&file.text)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            let found = LEFTOVERS.iter().filter(move |leftover| line.contains(**leftover));
            found.map(move |leftover| format!("{}:{number}: {leftover}", file.path))
        })
        .collect()
}

pub(crate) fn function_length(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let starts = (0..lines.len()).filter(|&at| is_function(lines[at]));
    starts
        .map(|start| (start, function_lines(&lines[start..])))
        .filter(|(_, length)| *length > FUNCTION_LINES_MAX)
        .map(|(start, length)| {
            let path = &file.path;
            let number = start + 1;
            format!("{path}:{number}: function of {length} lines, at most {FUNCTION_LINES_MAX}")
        })
        .collect()
}

pub(crate) fn is_function(line: &str) -> bool {
    let is_modifier = |word: &&str| {
        word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(word)
    };
    line.split_whitespace().find(|word| !is_modifier(word)) == Some("fn")
}

/// From the line with `fn` to the one that closes its body, or its declaration without one.
fn function_lines(lines: &[&str]) -> usize {
    let indent = &lines[0][..lines[0].len() - lines[0].trim_start().len()];
    if lines[0].ends_with(['}', ';']) {
        return 1;
    }
    let closes = |line: &&str| {
        line.strip_prefix(indent).is_some_and(|rest| {
            rest.starts_with('}') || (!rest.starts_with(' ') && rest.ends_with(';'))
        })
    };
    1 + lines[1..].iter().position(closes).map_or(lines.len() - 1, |at| at + 1)
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: impl Into<String>) -> File {
        File { path: path.to_owned(), text: text.into() }
    }

    #[test]
    fn a_file_may_have_500_lines_before_its_tests() {
        let at_limit = "\n".repeat(500);
        let tests = format!("#[cfg(test)]\n{at_limit}");
        assert!(file_length(&file("a.rs", format!("{at_limit}{tests}"))).is_empty());
        let found = file_length(&file("a.rs", format!("\n{at_limit}{tests}")));
        assert_eq!(found, ["a.rs: 501 lines, at most 500"]);
    }

    #[test]
    fn an_example_may_have_119_lines_and_other_files_more() {
        assert!(example_length(&file("examples/a.rs", "\n".repeat(119))).is_empty());
        assert_eq!(example_length(&file("examples/a.rs", "\n".repeat(120))).len(), 1);
        assert!(example_length(&file("src/a.rs", "\n".repeat(120))).is_empty());
    }

    #[test]
    fn a_line_may_have_100_columns_whatever_its_bytes() {
        assert!(line_length(&file("a.rs", "é".repeat(100))).is_empty());
        let found = line_length(&file("a.rs", format!("ok\n{}", "x".repeat(101))));
        assert_eq!(found, ["a.rs:2: 101 columns, at most 100"]);
    }

    #[test]
    fn leftovers_are_found_in_code_and_not_in_comments() {
        for leftover in LEFTOVERS {
            assert_eq!(leftovers(&file("a.rs", format!("    {leftover}"))).len(), 1, "{leftover}");
            assert!(leftovers(&file("a.rs", format!("// {leftover}"))).is_empty(), "{leftover}");
        }
    }

    fn function(inner_lines: usize) -> String {
        format!("    pub(crate) async fn f() {{\n{}    }}\n", "        x;\n".repeat(inner_lines))
    }

    #[test]
    fn a_function_may_have_70_lines() {
        let two = format!("{}{}", function(68), function(69));
        assert_eq!(
            function_length(&file("a.rs", two)),
            ["a.rs:71: function of 71 lines, at most 70"]
        );
    }

    #[test]
    fn the_end_of_a_function_is_at_its_own_indentation() {
        let nested = ["fn f(", "    a: u8,", ") {", "    if a {", "    }", "}", "fn g() {}"];
        assert_eq!(function_lines(&nested), 6);
        assert_eq!(function_lines(&nested[6..]), 1);
        assert_eq!(function_lines(&["    fn f(", "        a: u8,", "    ) -> u8;", "    }"]), 3);
        assert_eq!(function_lines(&["fn f()", "where", "    T: Send,", "{", "}", "}"]), 5);
    }

    #[test]
    fn only_functions_are_functions() {
        assert!(is_function("    pub const unsafe fn f() {"));
        assert!(is_function("extern \"C\" fn f() {"));
        assert!(!is_function("    let f: fn() = g;"));
        assert!(!is_function("// fn f() {"));
        assert!(!is_function(""));
    }
}

//! No tuple whose only purpose is to put several bindings, or several parameters, on one line.

use crate::tree::File;

pub(crate) fn tuples(file: &File) -> Vec<String> {
    let text = without_doc_markers(&file.text);
    let mut starts = 0;
    let mut violations = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let rest = &text[starts..];
        let place = format!("{}:{}", file.path, at + 1);
        if is_tuple_binding(rest) {
            violations.push(format!("{place}: one `let` for each binding: {}", line.trim()));
        }
        if has_tuple_parameter(rest, line) {
            violations.push(format!("{place}: one parameter for each value: {}", line.trim()));
        }
        starts += line.len() + 1;
    }
    violations
}

/// Examples in documentation are code too.
fn without_doc_markers(text: &str) -> String {
    let code = text.lines().map(|line| {
        let trimmed = line.trim_start();
        let doc = trimmed.strip_prefix("///").or_else(|| trimmed.strip_prefix("//!"));
        doc.unwrap_or(line).to_owned() + "\n"
    });
    code.collect()
}

/// Whether `let (a, b) = (x, y);` or `(a, b) = (x, y);` begins here, with square brackets or not.
/// A swap, in which a later expression needs the former value of an earlier name, is none.
fn is_tuple_binding(text: &str) -> bool {
    let text = text.trim_start_matches(' ').trim_start_matches("# ");
    let text = text.strip_prefix("let ").unwrap_or(text);
    let Some((names, rest)) = bracketed(text) else { return false };
    let Some((_, value)) = rest.split_once('=') else { return false };
    // Between the names and the value only a type may stand.
    let between = &rest[..rest.len() - value.len() - 1];
    if !(between.trim().is_empty() || between.starts_with(": (")) {
        return false;
    }
    let Some((values, after)) = bracketed(value.trim_start()) else { return false };
    if !after.starts_with(';') {
        return false;
    }
    let names = split(names);
    let values = split(values);
    let needs_former = |at: usize| {
        values.iter().skip(at + 1).any(|value| uses(value, names[at].trim_start_matches("mut ")))
    };
    names.len() > 1 && names.len() == values.len() && !(0..names.len()).any(needs_former)
}

/// Whether an expression mentions a variable. A field or method of that name is another thing.
fn uses(expression: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    expression.match_indices(name).any(|(at, _)| {
        let before = expression[..at].chars().next_back();
        let after = expression[at + name.len()..].chars().next();
        !before.is_some_and(|c| is_word(c) || c == '.') && !after.is_some_and(is_word)
    })
}

/// Whether a function with a tuple among its parameters begins in this line, the first of `text`.
fn has_tuple_parameter(text: &str, line: &str) -> bool {
    let Some(at) = line.find("fn ").filter(|_| crate::source::is_function(line)) else {
        return false;
    };
    let Some(open) = after_generics(&text[at..]) else { return false };
    let parameters = bracketed(&text[at + open..]).map(|(inside, _)| split(inside));
    parameters.is_some_and(|all| all.iter().any(|parameter| parameter.starts_with('(')))
}

/// Where the parenthesis of a function's parameters is: its generics may have some too.
fn after_generics(function: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in function.char_indices() {
        match c {
            '(' if depth == 0 => return Some(at),
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// What stands in the brackets with which `text` begins, and what follows them.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with(['(', '[']) {
        return None;
    }
    let mut depth = 0;
    for (at, c) in outside_strings(text) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[1..at], &text[at + 1..]));
        }
    }
    None
}

/// The parts between the commas that are in no brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut begin = 0;
    let mut parts = Vec::new();
    for (at, c) in outside_strings(text) {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if !text[..at].ends_with(['-', '=']) => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The characters of some code that are not inside a string.
fn outside_strings(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut is_inside = false;
    let mut is_escaped = false;
    text.char_indices().filter(move |(_, c)| {
        let was_inside = is_inside;
        if *c == '"' && !is_escaped {
            is_inside = !is_inside;
        }
        is_escaped = is_inside && *c == '\\' && !is_escaped;
        !was_inside && *c != '"'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        tuples(&File { path: "a.rs".to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn a_tuple_that_saves_lines_is_found() {
        for text in [
            "    let (a, b) = (x, y);\n",
            "let (mut a, b) = (f(x, 1), \", (\");\n",
            "let (a, b): (u8, u8) = (x, y);\n",
            "let [a, b] = [x, y];\n",
            "let (a, b) =\n    (one(x), two(y));\n",
            "        (self.a, self.b) = (x, y);\n",
            "/// let (a, b) = (x, y);\n",
            "    //! # let (a, b) = (x, y);\n",
            "fn f((a, b): (u8, u8)) {\n",
            "    pub fn f<T: Fn(u8) -> u8>(\n        t: T,\n        (a, b): (u8, u8),\n    ) {\n",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn tuples_that_are_needed_are_not() {
        for text in [
            "let (a, b) = f(x, y);\n",
            "let (a, b) = (x, y).swap();\n",
            "let (a, b) = if x { (1, 2) } else { (2, 1) };\n",
            "(a, b) = (b, a + b);\n",
            "let pair = (x, y);\n",
            "assert_eq!((a, b), (x, y));\n",
            "all.map(|(a, b): (u8, u8)| a + b);\n",
            "fn f(a: (u8, u8), b: impl Fn((u8, u8))) -> (u8, u8) {\n",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
    }
}

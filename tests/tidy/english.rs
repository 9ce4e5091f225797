//! Comments and messages are plain English. These words give away sentences that were thought in
//! another language, or that take threads and processes for people.

use crate::prose;
use crate::tree::File;

/// Beside the phrases that documents may not have either. In code they stand for a thread, a
/// process or a client, which has a name.
const FORBIDDEN: [&str; 3] = ["nobody", "somebody", "whoever"];

/// "`None` if there is none" is plain English.
const ALLOWED_IN_CODE: [&str; 2] = ["is none", "are none"];

/// "After", "beyond" and "following" are other words for it. Something may lag or fall behind.
const BEHIND: &str = "behind";
const BEFORE_BEHIND: [&str; 8] =
    ["lag", "lags", "lagged", "lagging", "fall", "falls", "far", "lie"];

/// The files that list what is forbidden.
const LISTS: [&str; 2] = ["tests/tidy/english.rs", "tests/tidy/prose.rs"];

pub(crate) fn words(file: &File) -> Vec<String> {
    if LISTS.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for prose in sentences(line) {
            let words = words_of(&prose);
            for word in forbidden(&words) {
                violations.push(format!("{}:{}: `{word}` in: {prose}", file.path, at + 1));
            }
        }
    }
    violations
}

/// Lower-case words with one space before and after each.
fn words_of(prose: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "_'`".contains(c);
    let lower = prose.to_lowercase();
    let words = lower.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    words.fold(" ".to_owned(), |all, word| all + word + " ")
}

fn all_forbidden() -> impl Iterator<Item = &'static str> {
    let phrases = prose::FORBIDDEN.into_iter().filter(|phrase| !ALLOWED_IN_CODE.contains(phrase));
    FORBIDDEN.into_iter().chain(phrases)
}

fn forbidden(words: &str) -> Vec<&'static str> {
    let mut found: Vec<_> =
        all_forbidden().filter(|word| words.contains(&format!(" {word} "))).collect();
    let mut before = "";
    for word in words.split_whitespace() {
        if word == BEHIND && !BEFORE_BEHIND.contains(&before) {
            found.push(BEHIND);
        }
        before = word;
    }
    found
}

/// The comment of a line and its strings. A string without a space is data, not a sentence.
fn sentences(line: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut inside: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (&mut inside, c) {
            (None, '/') if chars.peek() == Some(&'/') => {
                strings.push(chars.collect::<String>().trim_matches(['/', '!', ' ']).to_owned());
                break;
            }
            (None, '"') => inside = Some(String::new()),
            (Some(_), '"') => strings.extend(inside.take().filter(|text| text.contains(' '))),
            (Some(_), '\\') => drop(chars.next()),
            (Some(text), c) => text.push(c),
            (None, _) => {}
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        words(&File { path: "a.rs".to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn every_forbidden_word_is_found_in_comments_and_messages() {
        for word in all_forbidden().chain([BEHIND]) {
            assert_eq!(found(&format!("    /// It {word}, then.")), 1, "{word}");
            assert_eq!(found(&format!("f(); // {word}")), 1, "{word}");
            assert_eq!(found(&format!("panic!(\"{word} \\\" it\");")), 1, "{word}");
        }
    }

    #[test]
    fn code_data_and_other_words_are_not() {
        for text in [
            "let he = behind();",
            "send(\"behind\");",
            "// It may lag behind. They fall behind, far behind the others.",
            "// The anewest history of this, here, for many.",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
    }
}

//! The English of the documents: short sentences, no phrase that stops a native reader, and limits
//! for the pages that must stay short.

use crate::tree::File;

const SENTENCE_WORDS_MAX: usize = 35;

/// Calques, and pronouns of persons for things.
pub(crate) const FORBIDDEN: [&str; 24] = [
    "anew",
    "but for",
    "goes by",
    "go by",
    "so many",
    "in the middle",
    "is to be",
    "are to be",
    "nobody's",
    "he",
    "him",
    "his",
    "himself",
    "by itself is",
    "whatever waits",
    "in silence",
    "told of",
    "is none",
    "are none",
    "one's own",
    "of one's",
    "with a word",
    "without a word",
    "for ever",
];

/// A piece of running text (a paragraph, an item of a list, a cell) and the line that it starts at.
#[derive(Debug, PartialEq)]
struct Passage {
    line: usize,
    text: String,
}

pub(crate) fn sentences_are_short(file: &File) -> Vec<String> {
    let long = |passage: &Passage| {
        let sentences = sentences(&passage.text).into_iter();
        let long = sentences.filter(|sentence| words(sentence) > SENTENCE_WORDS_MAX);
        let place = format!("{}:{}", file.path, passage.line);
        long.map(|sentence| format!("{place}: {} words: {sentence}", words(&sentence)))
            .collect::<Vec<_>>()
    };
    passages(&file.text).iter().flat_map(long).collect()
}

pub(crate) fn phrases(file: &File) -> Vec<String> {
    let mut violations = Vec::new();
    for passage in passages(&file.text) {
        let text = format!(" {} ", spoken(&passage.text));
        let found = FORBIDDEN.iter().filter(|phrase| text.contains(&format!(" {phrase} ")));
        violations
            .extend(found.map(|phrase| format!("{}:{}: `{phrase}`", file.path, passage.line)));
    }
    violations
}

/// Words of running text; code does not count.
pub(crate) fn at_most(file: &File, words_max: usize) -> Vec<String> {
    let all: usize = passages(&file.text).iter().map(|passage| words(&passage.text)).sum();
    let long = all > words_max;
    long.then(|| format!("{}: {all} words, at most {words_max}", file.path)).into_iter().collect()
}

/// The terms of a glossary, the first column of the table under `heading`, are few, in order, and
/// each is there once.
pub(crate) fn glossary(file: &File, heading: &str, terms_max: usize) -> Vec<String> {
    let section = file.text.lines().skip_while(|line| *line != heading).skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let rows = section.filter(|line| line.starts_with("| ")).skip(2);
    let terms: Vec<String> = rows.filter_map(|row| row.split('|').nth(1)).map(spoken).collect();
    let mut violations = Vec::new();
    if terms.is_empty() || terms.len() > terms_max {
        violations.push(format!("{}: {} terms, 1 to {terms_max}", file.path, terms.len()));
    }
    let unordered = terms.windows(2).filter(|pair| pair[0] >= pair[1]);
    violations
        .extend(unordered.map(|pair| format!("{}: {} after {}", file.path, pair[1], pair[0])));
    violations
}

/// The running text of a document, without blocks of code and comments.
fn passages(markdown: &str) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    let mut is_open = false;
    let mut is_code = false;
    let mut is_item = false;
    for (at, line) in markdown.lines().enumerate() {
        let text = line.trim_start().trim_start_matches("> ");
        let is_indented = line.starts_with("    ") && !is_open && !is_item;
        if text.starts_with("```") {
            is_code = !is_code;
            is_open = false;
        } else if text.is_empty() {
            is_open = false;
        } else if is_code || is_indented || text.starts_with("<!--") || is_definition(text) {
            continue;
        } else if text.starts_with('|') {
            is_open = false;
            let cells = text.trim_matches('|').split('|').map(str::trim);
            let cells = cells.filter(|cell| cell.contains(char::is_alphanumeric));
            passages.extend(cells.map(|cell| Passage { line: at + 1, text: plain(cell) }));
        } else {
            let item = item(text);
            is_item = item.is_some() || (is_item && line.starts_with(' '));
            let is_heading = text.starts_with('#');
            let text = plain(item.unwrap_or(text));
            match passages.last_mut().filter(|_| is_open && item.is_none() && !is_heading) {
                Some(passage) => passage.text.extend([" ", text.as_str()]),
                None => passages.push(Passage { line: at + 1, text }),
            }
            is_open = !is_heading;
        }
    }
    passages.iter_mut().for_each(|passage| passage.text = without_links(&passage.text));
    passages
}

/// What an item of a list says.
fn item(line: &str) -> Option<&str> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(". ");
    line.strip_prefix("* ").or_else(|| line.strip_prefix("- ")).or(numbered)
}

/// `[name]: path`, where a link leads.
fn is_definition(line: &str) -> bool {
    line.starts_with('[') && line.split_once("]: ").is_some_and(|(name, _)| !name.contains(' '))
}

/// Code is one word, whatever is in it; emphasis is none.
fn plain(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 1 { "Code" } else { part });
    parts.collect::<String>().replace("**", "")
}

/// Of a link only its text is read.
fn without_links(text: &str) -> String {
    let mut parts = text.split("](");
    let mut read = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        read.extend(["]", part.split_once(')').map_or(part, |(_, rest)| rest)]);
    }
    read.replace(['[', ']'], "")
}

fn sentences(text: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    for word in text.split_whitespace() {
        let last = sentences.len() - 1;
        sentences[last].extend([word, " "]);
        let bare = word.trim_end_matches([')', '"', '*', '_']);
        if bare.ends_with(['.', '!', '?']) && !bare.ends_with("e.g.") {
            sentences.push(String::new());
        }
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

/// Lower case and without punctuation, a space between words.
fn spoken(text: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || "'-/_".contains(c);
    let text: String = text.chars().map(|c| if is_part(c) { c } else { ' ' }).collect();
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "a.md".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_long_sentence_is_found_wherever_it_stands() {
        let long = "word ".repeat(36);
        for text in [
            format!("{long}.\n"),
            format!("Short. {long}\nNext line.\n"),
            format!("* {long}\n"),
            format!("| a | {long} |\n"),
            format!("> {long}\n"),
            format!("* an item\n\n    {long}\n"),
        ] {
            assert_eq!(sentences_are_short(&file(&text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn code_links_and_short_sentences_are_no_long_sentences() {
        let half = "word ".repeat(30);
        let code = "x ".repeat(40);
        for text in [
            format!("{half}. {half}\n"),
            format!("* {half}\n* {half}\n"),
            format!("| {half} | {half} |\n"),
            format!("{half} `{code}` [text](a/b.md)\n"),
            format!("```text\n{code}\n```\n"),
            format!("Run:\n\n    {code}\n"),
            format!("# {half}\n{half}\n"),
            format!("<!-- {code} -->\n"),
        ] {
            assert_eq!(sentences_are_short(&file(&text)), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_phrase_is_found_across_lines_and_not_in_code() {
        let found = phrases(&file("It starts\nanew, and (He) waits.\n"));
        assert_eq!(found, ["a.md:1: `anew`", "a.md:1: `he`"]);
        assert_eq!(phrases(&file("`anew` renewed the other\n")), [""; 0]);
        assert_eq!(phrases(&file("All but\nfor one\n")).len(), 1);
    }

    #[test]
    fn a_document_that_grows_is_found() {
        let text = file("one two `three`\n\n```\nfour five\n```\n| six | - |\n");
        assert_eq!(at_most(&text, 4), [""; 0]);
        assert_eq!(at_most(&text, 3), ["a.md: 4 words, at most 3"]);
    }

    #[test]
    fn a_glossary_is_short_and_in_order() {
        let of = |rows: &str| {
            let text = format!("## Words\n\n| word | means |\n| --- | --- |\n{rows}\n## Next\n");
            glossary(&file(&text), "## Words", 2).len()
        };
        assert_eq!(of("| a | x |\n| b | x |"), 0);
        assert_eq!(of(""), 1);
        assert_eq!(of("| b | x |\n| a | x |"), 1);
        assert_eq!(of("| a | x |\n| a | x |"), 1);
        assert_eq!(of("| a | x |\n| b | x |\n| c | x |"), 1);
    }
}

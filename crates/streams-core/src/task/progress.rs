//! What a task keeps beside its committed offsets: stream times, the positions of readers that are
//! ahead, and how far changelogs reach.
//!
//! It travels in the offset's metadata, so that it is committed in the same transaction as the
//! records it belongs to. The text is `hw1` followed by entries `;t:{table}:{milliseconds}`,
//! `;p:{reader}:{offset}` and `;c:{table}:{offset}`.

use std::fmt::Write;

use crate::record::Timestamp;

const VERSION: &str = "hw1";

/// Parsed metadata. Text that is not ours (another program committed for this group) holds no
/// progress.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress<'a> {
    entries: Vec<(Kind, &'a str, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Position,
    Changelog,
}

impl<'a> Progress<'a> {
    /// The reader name of all operators of a source; agents read under their own names, which are
    /// never empty.
    pub(crate) const OPERATORS: &'static str = "";

    pub(crate) fn parse(metadata: &'a str) -> Self {
        let mut parts = metadata.split(';');
        if parts.next() != Some(VERSION) {
            return Self::default();
        }
        Self { entries: parts.filter_map(entry).collect() }
    }

    /// The stream time kept for a table, `Timestamp::MIN` if there is none.
    pub(crate) fn time(&self, table: &str) -> Timestamp {
        self.find(Kind::Time, table).unwrap_or(Timestamp::MIN)
    }

    /// The position of a reader that was ahead of the committed offset.
    pub(crate) fn position(&self, reader: &str) -> Option<i64> {
        self.find(Kind::Position, reader)
    }

    /// Where a table's changelog ended, this commit's entries included.
    pub(crate) fn changelog(&self, table: &str) -> Option<i64> {
        self.find(Kind::Changelog, table)
    }

    fn find(&self, kind: Kind, name: &str) -> Option<i64> {
        let found = self.entries.iter().find(|(k, n, _)| *k == kind && *n == name);
        found.map(|(_, _, value)| *value)
    }
}

fn entry(text: &str) -> Option<(Kind, &str, i64)> {
    let (kind, rest) = text.split_once(':')?;
    let (name, value) = rest.split_once(':')?;
    let kind = match kind {
        "t" => Kind::Time,
        "p" => Kind::Position,
        "c" => Kind::Changelog,
        _ => return None,
    };
    Some((kind, name, value.parse().ok()?))
}

/// Writes metadata; nothing at all if there is nothing to keep.
#[derive(Debug, Default)]
pub(crate) struct ProgressText(String);

impl ProgressText {
    pub(crate) fn time(&mut self, table: &str, time: Timestamp) {
        self.entry('t', table, time);
    }

    pub(crate) fn position(&mut self, reader: &str, offset: i64) {
        self.entry('p', reader, offset);
    }

    pub(crate) fn changelog(&mut self, table: &str, end: i64) {
        self.entry('c', table, end);
    }

    fn entry(&mut self, kind: char, name: &str, value: i64) {
        if self.0.is_empty() {
            self.0.push_str(VERSION);
        }
        // Writing to a string does not fail.
        let _ = write!(self.0, ";{kind}:{name}:{value}");
    }

    /// Goes on with what was written.
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let mut text = ProgressText::default();
        text.time("sales", -5);
        text.position("", 7);
        text.position("agent", 9);
        let mut text = ProgressText::of(text.into_string());
        text.changelog("sales", 11);
        let text = text.into_string();
        assert_eq!(text, "hw1;t:sales:-5;p::7;p:agent:9;c:sales:11");
        let progress = Progress::parse(&text);
        assert_eq!(progress.time("sales"), -5);
        assert_eq!(progress.time("agent"), Timestamp::MIN);
        assert_eq!(progress.position(Progress::OPERATORS), Some(7));
        assert_eq!(progress.position("agent"), Some(9));
        assert_eq!((progress.changelog("sales"), progress.changelog("agent")), (Some(11), None));
    }

    #[test]
    fn foreign_metadata_holds_nothing() {
        for text in ["", "hw1", "hw9;t:a:1", "AQAAAXs=", "hw1;x:a:1;t:a;t:a:b"] {
            assert_eq!(Progress::parse(text), Progress::default(), "{text}");
        }
    }
}

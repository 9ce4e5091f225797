//! What a task keeps beside its committed offsets: stream times, the positions of readers that are
//! ahead, and how far changelogs reach.
//!
//! It travels in the offset's metadata, so that it is committed in the same transaction as the
//! records it belongs to. The text is `hw1` followed by entries `;t:{table}:{milliseconds}`,
//! `;p:{reader}:{offset}`, `;c:{table}:{offset}` and, while windows are being closed,
//! `;o:{table}:{the key of the first one that is left, in hexadecimal digits}`. Of a key that is
//! too long only the first bytes are there, and `+{how many from there on are closed}`. Windows of
//! different lengths need `;d:{table}:{milliseconds}` beside it: up to when they were closed before.

use std::fmt::Write;

use crate::record::Timestamp;

const VERSION: &str = "hw1";

/// What fits beside an offset, of the 4,096 bytes that Kafka allows by default.
pub(crate) const METADATA_MAX: usize = 4_000;

/// Parsed metadata. Text that is not ours (another program committed for this group) holds no
/// progress.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress<'a> {
    entries: Vec<(Kind, &'a str, i64)>,
    /// Whose windows are being closed, the first key that is left, how many from there on are not.
    cursors: Vec<(&'a str, Vec<u8>, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Position,
    Changelog,
    Closed,
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
        let mut progress = Self::default();
        for part in parts {
            progress.entries.extend(entry(part));
            progress.cursors.extend(cursor(part));
        }
        progress
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

    /// Up to which stream time the windows of a table were closed before they are closed now.
    pub(crate) fn closed(&self, table: &str) -> Option<Timestamp> {
        self.find(Kind::Closed, table)
    }

    /// The first window of a table that is left to be closed, and how many from there on are not.
    pub(crate) fn cursor(&self, table: &str) -> Option<(&[u8], u64)> {
        let found = self.cursors.iter().find(|(name, _, _)| *name == table);
        found.map(|(_, key, skip)| (&**key, *skip))
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
        "d" => Kind::Closed,
        _ => return None,
    };
    Some((kind, name, value.parse().ok()?))
}

fn cursor(text: &str) -> Option<(&str, Vec<u8>, u64)> {
    let (name, place) = text.strip_prefix("o:")?.split_once(':')?;
    let (digits, skip) = place.split_once('+').unwrap_or((place, "0"));
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    Some((name, pairs.collect::<Option<_>>()?, skip.parse().ok()?))
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

    pub(crate) fn closed(&mut self, table: &str, time: Timestamp) {
        self.entry('d', table, time);
    }

    pub(crate) fn cursor(&mut self, table: &str, key: &[u8], skip: u64) {
        self.begin();
        // Writing to a string does not fail.
        let _ = write!(self.0, ";o:{table}:");
        for byte in key {
            let _ = write!(self.0, "{byte:02x}");
        }
        if skip > 0 {
            let _ = write!(self.0, "+{skip}");
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn begin(&mut self) {
        if self.0.is_empty() {
            self.0.push_str(VERSION);
        }
    }

    fn entry(&mut self, kind: char, name: &str, value: i64) {
        self.begin();
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
    fn reads_back_where_windows_are_being_closed() {
        let mut text = ProgressText::default();
        text.cursor("sales", &[0, 255, b';', b':', b'+'], 0);
        text.cursor("sales/1", b"k", 12);
        text.cursor("all", b"", 3);
        let text = text.into_string();
        assert_eq!(text, "hw1;o:sales:00ff3b3a2b;o:sales/1:6b+12;o:all:+3");
        let progress = Progress::parse(&text);
        assert_eq!(progress.cursor("sales"), Some((&[0, 255, b';', b':', b'+'][..], 0)));
        assert_eq!(progress.cursor("sales/1"), Some((&b"k"[..], 12)));
        assert_eq!(progress.cursor("all"), Some((&b""[..], 3)));
        assert_eq!(progress.cursor("other"), None);
        for broken in ["hw1;o:a:0", "hw1;o:a:+x", "hw1;o:a", "hw1;o:a:é1", "hw1;o:a:+-1"] {
            assert_eq!(Progress::parse(broken).cursor("a"), None, "{broken}");
        }
    }

    #[test]
    fn foreign_metadata_holds_nothing() {
        for text in ["", "hw1", "hw9;t:a:1", "AQAAAXs=", "hw1;x:a:1;t:a;t:a:b"] {
            assert_eq!(Progress::parse(text), Progress::default(), "{text}");
        }
    }
}

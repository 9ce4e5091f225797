//! What a task keeps beside its committed offsets: stream times, the positions of readers that are
//! ahead, and how far changelogs reach.
//!
//! It travels in the offset's metadata, so that it is committed in the same transaction as the
//! records it belongs to. The text is `hw1` followed by entries `;t:{table}:{milliseconds}`,
//! `;p:{reader}:{offset}`, `;c:{table}:{offset}` and, while windows are being closed,
//! `;o:{table}:{since}:{to}:{key}`: those that were due at the stream time `since` are closed,
//! those due at `to` are being closed, and the first of them that is left has that key, in
//! hexadecimal digits. Of a key that is too long only the first bytes are there, and `+{how many
//! from there on are done with}`.

use std::fmt::Write;

use crate::due::Pass;
use crate::record::Timestamp;

const VERSION: &str = "hw1";

/// What fits beside an offset, of the 4,096 bytes that Kafka allows by default.
pub(crate) const METADATA_MAX: usize = 4_000;

/// Parsed metadata. Text that is not ours (another program committed for this group) holds no
/// progress.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress<'a> {
    entries: Vec<(Kind, &'a str, i64)>,
    /// Whose windows are being closed, and how far that has come.
    closing: Vec<(&'a str, Pass)>,
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
        let mut progress = Self::default();
        for part in parts {
            progress.entries.extend(entry(part));
            progress.closing.extend(closing(part));
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

    /// How far closing the windows of a table has come, if some are left.
    pub(crate) fn closing(&self, table: &str) -> Option<&Pass> {
        self.closing.iter().find(|(name, _)| *name == table).map(|(_, pass)| pass)
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

fn closing(text: &str) -> Option<(&str, Pass)> {
    let mut parts = text.strip_prefix("o:")?.split(':');
    let (name, since, to, place) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (digits, skip) = place.split_once('+').unwrap_or((place, "0"));
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let key = pairs.collect::<Option<_>>()?;
    Some((name, Pass::resumed(since.parse().ok()?, to.parse().ok()?, key, skip.parse().ok()?)))
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

    pub(crate) fn closing(&mut self, table: &str, pass: &Pass) {
        self.begin();
        // Writing to a string does not fail.
        let _ = write!(self.0, ";o:{table}:{}:{}:", pass.since, pass.to);
        for byte in &pass.key {
            let _ = write!(self.0, "{byte:02x}");
        }
        if pass.skip > 0 {
            let _ = write!(self.0, "+{}", pass.skip);
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
        let passes = [
            ("sales", Pass::resumed(-5, 7, vec![0, 255, b';', b':', b'+'], 0)),
            ("sales/1", Pass::resumed(i64::MIN, 12, b"k".to_vec(), 12)),
        ];
        let mut text = ProgressText::default();
        passes.iter().for_each(|(table, pass)| text.closing(table, pass));
        let text = text.into_string();
        let expected =
            "hw1;o:sales:-5:7:00ff3b3a2b;o:sales/1:-9223372036854775808:12:6b+12".to_owned();
        assert_eq!(text, expected);
        let progress = Progress::parse(&text);
        passes.iter().for_each(|(table, pass)| assert_eq!(progress.closing(table), Some(pass)));
        assert_eq!(progress.closing("other"), None);
        for broken in ["o:a:1:2:0", "o:a:1:2:+x", "o:a:1:2", "o:a:1:2:é1", "o:a:1:x:00", "o:a"] {
            let text = format!("hw1;{broken}");
            assert_eq!(Progress::parse(&text).closing("a"), None, "{broken}");
        }
    }

    #[test]
    fn foreign_metadata_holds_nothing() {
        for text in ["", "hw1", "hw9;t:a:1", "AQAAAXs=", "hw1;x:a:1;t:a;t:a:b"] {
            assert_eq!(Progress::parse(text), Progress::default(), "{text}");
        }
    }
}

//! The progress that a task commits with its offsets: stream times, the positions of readers that
//! are ahead, and the ends of changelogs.
//!
//! It is the offset's metadata, so it is committed in the same transaction as the records it
//! belongs to. The text is `hw1` followed by entries `;t:{table}:{milliseconds}`,
//! `;p:{reader}:{offset}`, `;c:{table}:{offset}` and, while windows are being closed,
//! `;o:{table}:{since}:{to}:{key}`. That means: windows due at the stream time `since` are closed,
//! those due at `to` are being closed, and the first one left has that key, in hexadecimal digits.
//! If the key is too long, only its first bytes are there, followed by `+{how many windows from
//! there on are done}`.

use std::fmt::Write;

use crate::due::{Frontier, Pass};
use crate::operators::TIMESTAMP_MAX;
use crate::record::Timestamp;

const VERSION: &str = "hw1";

/// Committed stream times are not later than this: sources refuse records after the year 9999, and
/// idle input does not advance time by a century.
const TIME_MAX: Timestamp = TIMESTAMP_MAX + 100 * 366 * 24 * 60 * 60 * 1000;

/// Committed offsets are not larger than this.
const OFFSET_MAX: i64 = i64::MAX / 2;

/// No table has this many windows.
const SKIP_MAX: u64 = u64::MAX / 2;

/// Parsed metadata. Text that is not ours, because another program committed for this group,
/// contains no progress.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress<'a> {
    entries: Vec<(ProgressKind, &'a str, i64)>,
    /// The tables whose windows are being closed, and the progress.
    closing: Vec<(&'a str, Pass)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgressKind {
    Time,
    Position,
    Changelog,
}

impl<'a> Progress<'a> {
    /// The reader name of all operators of a source. Agents read under their own names, which are
    /// never empty.
    pub(crate) const OPERATORS: &'static str = "";

    /// Parses metadata. The error describes what is invalid.
    pub(crate) fn parse(metadata: &'a str) -> Result<Self, String> {
        let mut parts = metadata.split(';');
        if parts.next() != Some(VERSION) {
            return Ok(Self::default());
        }
        let mut progress = Self::default();
        for part in parts {
            progress.entries.extend(entry(part)?);
            progress.closing.extend(closing(part)?);
        }
        Ok(progress)
    }

    /// The furthest position of a reader that was ahead of the committed offset.
    pub(crate) fn furthest(&self) -> Option<i64> {
        let positions = self.entries.iter().filter(|(kind, _, _)| *kind == ProgressKind::Position);
        positions.map(|(_, _, position)| *position).max()
    }

    /// The stream time of a table; `Timestamp::MIN` if there is none.
    pub(crate) fn time(&self, table: &str) -> Timestamp {
        self.find(ProgressKind::Time, table).unwrap_or(Timestamp::MIN)
    }

    /// The position of a reader that was ahead of the committed offset.
    pub(crate) fn position(&self, reader: &str) -> Option<i64> {
        self.find(ProgressKind::Position, reader)
    }

    /// Where a table's changelog ended, this commit's entries included.
    pub(crate) fn changelog(&self, table: &str) -> Option<i64> {
        self.find(ProgressKind::Changelog, table)
    }

    /// The progress of closing the windows of a table, if some are left.
    pub(crate) fn closing(&self, table: &str) -> Option<&Pass> {
        self.closing.iter().find(|(name, _)| *name == table).map(|(_, pass)| pass)
    }

    fn find(&self, kind: ProgressKind, name: &str) -> Option<i64> {
        let found = self.entries.iter().find(|(k, n, _)| *k == kind && *n == name);
        found.map(|(_, _, value)| *value)
    }
}

/// `None` for kinds of a newer version.
fn entry(text: &str) -> Result<Option<(ProgressKind, &str, i64)>, String> {
    let (kind, what, max) = match text.split(':').next() {
        Some("t") => (ProgressKind::Time, "stream time", TIME_MAX),
        Some("p") => (ProgressKind::Position, "position", OFFSET_MAX),
        Some("c") => (ProgressKind::Changelog, "changelog end", OFFSET_MAX),
        _ => return Ok(None),
    };
    let parts = text.split_once(':').and_then(|(_, rest)| rest.split_once(':'));
    let Some((name, value)) = parts else {
        return Err(format!("{text:?} lacks a name or a number"));
    };
    let plausible = value.parse().ok().filter(|value| (0..=max).contains(value));
    let of = if name.is_empty() { String::new() } else { format!(" of {name}") };
    let value = plausible.ok_or_else(|| format!("the {what}{of} is {value:?}"))?;
    Ok(Some((kind, name, value)))
}

/// `None` for entries that are about something else.
fn closing(text: &str) -> Result<Option<(&str, Pass)>, String> {
    let Some(entry) = text.strip_prefix("o:") else { return Ok(None) };
    let broken = || format!("{text:?} is not a valid progress of closing windows");
    pass(entry).map(Some).ok_or_else(broken)
}

fn pass(entry: &str) -> Option<(&str, Pass)> {
    let mut parts = entry.split(':');
    let name = parts.next()?;
    let since = parts.next()?;
    let to = parts.next()?;
    let place = parts.next()?;
    let is_time = |time: &Timestamp| (0..=TIME_MAX).contains(time);
    let since = since.parse().ok().filter(|time| is_time(time) || *time == Frontier::UNKNOWN)?;
    let to = to.parse().ok().filter(is_time)?;
    let (digits, skip) = place.split_once('+').unwrap_or((place, "0"));
    // Leave room for additions.
    let skip = skip.parse().ok().filter(|skip| *skip <= SKIP_MAX)?;
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let key = pairs.collect::<Option<_>>()?;
    parts.next().is_none().then(|| (name, Pass::resumed(since, to, key, skip)))
}

/// Writes metadata; the text stays empty if there is nothing to commit.
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

    /// Continues after what was written.
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
    fn progress_is_read_back() {
        let mut text = ProgressText::default();
        text.time("sales", 5);
        text.position("", 7);
        text.position("agent", 9);
        let mut text = ProgressText::of(text.into_string());
        text.changelog("sales", 11);
        let text = text.into_string();
        assert_eq!(text, "hw1;t:sales:5;p::7;p:agent:9;c:sales:11");
        let progress = Progress::parse(&text).expect("plausible");
        assert_eq!(progress.time("sales"), 5);
        assert_eq!(progress.furthest(), Some(9));
        assert_eq!(progress.time("agent"), Timestamp::MIN);
        assert_eq!(progress.position(Progress::OPERATORS), Some(7));
        assert_eq!(progress.position("agent"), Some(9));
        assert_eq!((progress.changelog("sales"), progress.changelog("agent")), (Some(11), None));
    }

    #[test]
    fn the_progress_of_closing_windows_is_read_back() {
        let passes = [
            ("sales", Pass::resumed(5, 7, vec![0, 255, b';', b':', b'+'], 0)),
            ("sales/1", Pass::resumed(i64::MIN, 12, b"k".to_vec(), 12)),
        ];
        let mut text = ProgressText::default();
        passes.iter().for_each(|(table, pass)| text.closing(table, pass));
        let text = text.into_string();
        let expected =
            "hw1;o:sales:5:7:00ff3b3a2b;o:sales/1:-9223372036854775808:12:6b+12".to_owned();
        assert_eq!(text, expected);
        let progress = Progress::parse(&text).expect("plausible");
        passes.iter().for_each(|(table, pass)| assert_eq!(progress.closing(table), Some(pass)));
        assert_eq!(progress.closing("other"), None);
        let broken = [
            "o:a:1:2:0",
            "o:a:1:2:+x",
            "o:a:1:2",
            "o:a:1:2:é1",
            "o:a:1:x:00",
            "o:a",
            "o:a:-1:2:00",
            "o:a:9223372036854775807:2:00",
            "o:a:1:-9223372036854775808:00",
            "o:a:1:9223372036854775807:00",
            "o:a:1:2:00+18446744073709551615",
            "o:a:1:2:00:7",
        ];
        for broken in broken {
            let error = Progress::parse(&format!("hw1;{broken}")).expect_err(broken);
            assert!(error.contains(broken) && error.contains("windows"), "{error}");
        }
    }

    #[test]
    fn foreign_metadata_contains_no_progress() {
        for text in ["", "hw1", "hw9;t:a:-1", "AQAAAXs=", "hw1;x:a:-1;"] {
            assert_eq!(Progress::parse(text), Ok(Progress::default()), "{text}");
        }
    }

    #[test]
    fn invalid_metadata_is_an_error_that_names_it() {
        let refused = [
            ("hw1;t:a:-1", "the stream time of a is \"-1\""),
            ("hw1;t:b:1;t:a:9223372036854775807", "stream time of a"),
            ("hw1;t:a:1000000000000000", "stream time of a"),
            ("hw1;p::9223372036854775807", "the position is \"9223372036854775807\""),
            ("hw1;p:agent:-7", "the position of agent is"),
            ("hw1;c:a:9223372036854775808", "the changelog end of a"),
            ("hw1;t:a", "\"t:a\" lacks a name"),
            ("hw1;t:a:b", "\"b\""),
        ];
        for (text, words) in refused {
            let error = Progress::parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

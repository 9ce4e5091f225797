//! Due work is done in portions: however many windows one record closes, commits and other tasks
//! need not wait for all of them.
//!
//! A record does the first portion itself. The rest is done before the next record, one portion per
//! step, with commits in between. What is left follows only from an operator's tables, its stream
//! time and, for windows, its position in the table. All of that is committed, so a task that
//! resumes after a crash finds the rest.

use crate::record::Timestamp;

/// How many due entries one record processes.
pub(crate) const PORTION: usize = 1_000;

/// How many bytes a portion may send before it ends with the current entry.
const BYTES_MAX: usize = 1 << 20;

/// What is left of this portion.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Portion {
    /// Entries.
    left: usize,
    /// The size of the effects at which it ends.
    until_bytes: usize,
    /// It ended before everything was done.
    pub(crate) is_used_up: bool,
}

impl Portion {
    /// Begins a portion of this many entries, at least one, when the effects have `bytes` already.
    pub(crate) fn begin(&mut self, entries: usize, bytes: usize) {
        self.left = entries.max(1);
        self.until_bytes = bytes.saturating_add(BYTES_MAX);
    }

    /// How many more entries it may process.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Whether it may process one more entry, when the effects have `bytes`.
    pub(crate) fn takes_one(&mut self, bytes: usize) -> bool {
        if self.left == 0 || bytes >= self.until_bytes {
            self.is_used_up = true;
            return false;
        }
        self.left -= 1;
        true
    }
}

/// How far the entries of a table have been processed in the order of time. Entries before it are
/// done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// Nothing that waits is earlier than this. It is [`Frontier::UNKNOWN`] before the table was
    /// searched, and `Timestamp::MAX` while nothing waits.
    pub(crate) time: Timestamp,
    /// The by-time store key of the first entry that waits; if it is empty, the first one at
    /// `time`. Many entries may have one time, and the processed ones, or their deletions, may
    /// still be in the store.
    key: Vec<u8>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::unknown()
    }
}

impl Frontier {
    pub(crate) const UNKNOWN: Timestamp = Timestamp::MIN;

    /// Nothing is known.
    pub(crate) fn unknown() -> Self {
        Self::at(Self::UNKNOWN)
    }

    /// Everything at `time` and later waits.
    pub(crate) fn at(time: Timestamp) -> Self {
        Self { time, key: Vec::new() }
    }

    /// Everything from an entry on waits.
    pub(crate) fn at_entry(time: Timestamp, key: impl Into<Vec<u8>>) -> Self {
        Self { time, key: key.into() }
    }

    /// Where to resume, if that is among the entries of one time.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        (!self.key.is_empty()).then_some(&*self.key)
    }

    /// Returns the earlier of this and the entry.
    pub(crate) fn or_earlier(self, time: Timestamp, key: &[u8]) -> Self {
        if (self.time, &*self.key) <= (time, key) { self } else { Self::at_entry(time, key) }
    }

    /// Notes an added entry that waits at `time`.
    #[inline]
    pub(crate) fn lower(&mut self, time: Timestamp) {
        if time < self.time {
            *self = Self::at(time);
        }
    }

    /// The same, if other entries of its time may be processed already.
    #[inline]
    pub(crate) fn back_to(&mut self, time: Timestamp) {
        if time <= self.time {
            *self = Self::at(time);
        }
    }

    /// Whether an entry is among those that are done.
    pub(crate) fn is_after(&self, time: Timestamp, key: &[u8]) -> bool {
        (time, key) < (self.time, &*self.key)
    }

    /// The same for an entry that may precede others of its time that are done.
    pub(crate) fn lower_to(&mut self, time: Timestamp, key: &[u8]) {
        if time == self.time && *self.key > *key {
            self.key = key.to_vec();
        }
        self.lower(time);
    }
}

/// A pass through the windows of a table in the order of their names, which is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Windows due at this stream time are done.
    pub(crate) since: Timestamp,
    /// Windows due at this stream time are being processed.
    pub(crate) to: Timestamp,
    /// The by-time store key of the first window that the pass has not seen.
    pub(crate) key: Vec<u8>,
    /// How many windows from `key` on it has seen, if the key was too long to be committed
    /// completely.
    pub(crate) skip: u64,
    /// The least time with which the names of windows begin that were not due.
    pub(crate) first: Timestamp,
    /// The earliest time at which one of those is due.
    pub(crate) next: Timestamp,
}

impl Pass {
    /// Begins at `key`.
    pub(crate) fn begin(since: Timestamp, to: Timestamp, key: Vec<u8>) -> Self {
        Self { since, to, key, skip: 0, first: Timestamp::MAX, next: Timestamp::MAX }
    }

    /// Resumes as it was committed. What it had found before is not known.
    pub(crate) fn resumed(since: Timestamp, to: Timestamp, key: Vec<u8>, skip: u64) -> Self {
        Self { since, to, key, skip, first: Frontier::UNKNOWN, next: Frontier::UNKNOWN }
    }

    /// Notes that a window is not due before `due_at`.
    pub(crate) fn leave(&mut self, name: Timestamp, due_at: Timestamp) {
        self.first = self.first.min(name);
        self.next = self.next.min(due_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_ends_by_entries_or_bytes_and_has_at_least_one_entry() {
        let mut portion = Portion::default();
        portion.begin(0, 7);
        assert!(portion.takes_one(7) && !portion.is_used_up);
        assert!(!portion.takes_one(7) && portion.is_used_up);
        portion = Portion::default();
        portion.begin(9, 7);
        assert!(portion.takes_one(BYTES_MAX) && portion.left() == 8);
        assert!(!portion.takes_one(BYTES_MAX + 7) && portion.is_used_up);
    }

    #[test]
    fn a_frontier_moves_back_to_an_earlier_entry() {
        let mut frontier = Frontier::at_entry(5, *b"k");
        frontier.lower(5);
        frontier.lower_to(5, b"l");
        assert_eq!(frontier.key(), Some(&b"k"[..]));
        frontier.lower_to(5, b"j");
        assert_eq!(frontier, Frontier::at_entry(5, *b"j"));
        assert_eq!(frontier.clone().or_earlier(5, b"i"), Frontier::at_entry(5, *b"i"));
        assert_eq!(frontier.clone().or_earlier(5, b"k"), frontier);
        assert_eq!(Frontier::at(5).or_earlier(5, b"i"), Frontier::at(5));
        assert!(frontier.is_after(5, b"i") && !frontier.is_after(5, b"j"));
        let mut whole = frontier.clone();
        whole.back_to(6);
        assert_eq!(whole, frontier);
        whole.back_to(5);
        assert_eq!(whole, Frontier::at(5));
        assert!(!whole.is_after(5, b""));
        frontier.lower_to(4, b"x");
        assert_eq!(frontier, Frontier::at(4));
    }
}

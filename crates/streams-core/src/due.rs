//! What is due is done in portions: however many windows one record closes, a commit, and the
//! other tasks, need not wait for all of them.
//!
//! A record does a portion itself. What is left is done before the next record, a portion for each
//! step, and commits come in between. Nothing but an operator's tables, its stream time and, for
//! windows, the place in the table that closing has come to says what is left; all of that is
//! committed, so whoever goes on after a crash finds the rest.

use crate::record::Timestamp;

/// Entries that one record does of what is due.
pub(crate) const PORTION: usize = 1_000;

/// What a portion may send, in bytes, before it ends with the entry in hand.
const BYTES_MAX: usize = 1 << 20;

/// What may still be done of this portion.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Portion {
    /// Entries.
    left: usize,
    /// How many bytes there are to be sent when it ends.
    until_bytes: usize,
    /// It ended before everything was done.
    pub(crate) is_used_up: bool,
}

impl Portion {
    /// Begins another one of so many entries, at least one, when `bytes` are to be sent already.
    pub(crate) fn begin(&mut self, entries: usize, bytes: usize) {
        self.left = entries.max(1);
        self.until_bytes = bytes.saturating_add(BYTES_MAX);
    }

    /// Entries that may still be done.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Whether one more entry may be done, now that `bytes` are to be sent.
    pub(crate) fn takes_one(&mut self, bytes: usize) -> bool {
        if self.left == 0 || bytes >= self.until_bytes {
            self.is_used_up = true;
            return false;
        }
        self.left -= 1;
        true
    }
}

/// How far the entries of a table have been gone through in the order of time: those before it are
/// done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// Nothing that waits does so before this; [`Frontier::UNKNOWN`] until somebody has looked,
    /// and `Timestamp::MAX` while nothing waits.
    pub(crate) time: Timestamp,
    /// The store key, found by time, of the first entry that waits; empty: the first one at
    /// `time`. Many entries may wait at one time, and those that were done with may lie there
    /// still, or leave their deletions there.
    key: Vec<u8>,
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

    /// Where to go on, if that is within the entries of one time.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        (!self.key.is_empty()).then_some(&*self.key)
    }

    /// The entry, or this, whichever comes first.
    pub(crate) fn or_earlier(self, time: Timestamp, key: &[u8]) -> Self {
        if (self.time, &*self.key) <= (time, key) { self } else { Self::at_entry(time, key) }
    }

    /// An entry was added that waits at `time`.
    #[inline]
    pub(crate) fn lower(&mut self, time: Timestamp) {
        if time < self.time {
            *self = Self::at(time);
        }
    }

    /// The same where other entries of its time may be done with already.
    #[inline]
    pub(crate) fn back_to(&mut self, time: Timestamp) {
        if time <= self.time {
            *self = Self::at(time);
        }
    }

    /// Whether an entry is among those that are done with.
    pub(crate) fn is_after(&self, time: Timestamp, key: &[u8]) -> bool {
        (time, key) < (self.time, &*self.key)
    }

    /// The same for an entry that may lie before others of its time that are done with.
    pub(crate) fn lower_to(&mut self, time: Timestamp, key: &[u8]) {
        if time == self.time && *self.key > *key {
            self.key = key.to_vec();
        }
        self.lower(time);
    }
}

/// A way through the windows of a table in the order of their names, with some of it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Windows that were due at this stream time are done with.
    pub(crate) since: Timestamp,
    /// Those that are due at this one are being done.
    pub(crate) to: Timestamp,
    /// The store key, found by time, of the first window that was not looked at.
    pub(crate) key: Vec<u8>,
    /// So many windows from `key` on were. For keys that are too long to be committed whole.
    pub(crate) skip: u64,
    /// What the names of those begin with, at the least, that were found not to be due.
    pub(crate) first: Timestamp,
    /// When the next of those is due, at the soonest.
    pub(crate) next: Timestamp,
}

impl Pass {
    /// From `key` on.
    pub(crate) fn begin(since: Timestamp, to: Timestamp, key: Vec<u8>) -> Self {
        Self { since, to, key, skip: 0, first: Timestamp::MAX, next: Timestamp::MAX }
    }

    /// As it was committed: what was found before is not known.
    pub(crate) fn resumed(since: Timestamp, to: Timestamp, key: Vec<u8>, skip: u64) -> Self {
        Self { since, to, key, skip, first: Frontier::UNKNOWN, next: Frontier::UNKNOWN }
    }

    /// A window is not due before `due_at`.
    pub(crate) fn leave(&mut self, name: Timestamp, due_at: Timestamp) {
        self.first = self.first.min(name);
        self.next = self.next.min(due_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_ends_with_its_entries_or_with_its_bytes_and_does_one_at_least() {
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
    fn a_frontier_goes_back_to_what_is_added_before_it() {
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

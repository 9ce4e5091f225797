//! Compaction keeps only the last record of each key, at its offset.

use std::collections::HashMap;
use std::sync::Arc;

use streams_core::Timestamp;

use crate::chunk::{Chunk, NewRecord};
use crate::partition::Segment;

/// The largest chunk, in bytes, that merging small ones may produce.
const CHUNK_BYTES: usize = 64 << 10;

/// The last offset of each key. It is only looked up, never iterated, so its order cannot affect a
/// result.
#[derive(Debug, Default)]
pub(crate) struct Latest(HashMap<Box<[u8]>, i64>);

impl Latest {
    /// Takes note of committed records.
    pub(crate) fn learn(&mut self, segment: &Segment) {
        for index in 0..segment.chunk.entries.len() {
            let record = segment.chunk.record(segment.base, index);
            match record.key.map(|key| (self.0.get_mut(key), key)) {
                Some((Some(offset), _)) => *offset = record.offset,
                Some((None, key)) => {
                    self.0.insert(key.into(), record.offset);
                }
                None => {}
            }
        }
    }

    fn is_latest(&self, key: Option<&[u8]>, offset: i64) -> bool {
        // Without a key it supersedes nothing and is superseded by nothing.
        key.is_none_or(|key| self.0.get(key).is_none_or(|latest| *latest <= offset))
    }
}

/// When tombstones may be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tombstones {
    pub(crate) now: Timestamp,
    /// How long readers have to see them, in milliseconds.
    pub(crate) kept_ms: i64,
}

/// Merges the records that remain of committed segments.
#[derive(Debug)]
pub(crate) struct Rewriter<'a> {
    latest: &'a Latest,
    tombstones: Tombstones,
    done: Vec<Segment>,
    base: i64,
    chunk: Chunk,
    /// The append date of the earliest chunk merged into the current one.
    earliest: Timestamp,
}

impl<'a> Rewriter<'a> {
    pub(crate) fn new(latest: &'a Latest, tombstones: Tombstones) -> Self {
        Self { latest, tombstones, done: Vec::new(), base: 0, chunk: Chunk::default(), earliest: 0 }
    }

    /// Adds the records of `segment` that remain.
    pub(crate) fn add(&mut self, segment: &Segment) {
        let source = &segment.chunk;
        let age = self.tombstones.now.saturating_sub(source.appended);
        let is_expired = age > self.tombstones.kept_ms;
        for index in 0..source.entries.len() {
            let record = source.record(segment.base, index);
            let is_gone = record.value.is_none() && is_expired;
            if is_gone || !self.latest.is_latest(record.key, record.offset) {
                continue;
            }
            let headers = source.header_bytes(index);
            let new = NewRecord {
                key: record.key,
                value: record.value,
                timestamp: record.timestamp,
                headers,
            };
            let delta = self.place(record.offset, source, new.len());
            self.chunk.push(delta, new);
        }
    }

    /// The record's delta in the current chunk; starts another chunk if it does not fit.
    fn place(&mut self, offset: i64, source: &Chunk, len: usize) -> u32 {
        // Chunks of very different ages stay separate: a young neighbour would keep old tombstones
        // alive.
        let span = source.appended.saturating_sub(self.earliest);
        let is_full =
            self.chunk.bytes.len() + len > CHUNK_BYTES || span > self.tombstones.kept_ms / 8;
        let delta = u32::try_from(offset - self.base).ok().filter(|_| !is_full);
        match delta.filter(|_| !self.chunk.entries.is_empty()) {
            Some(delta) => {
                self.chunk.appended = self.chunk.appended.max(source.appended);
                delta
            }
            None => {
                self.finish_chunk();
                self.base = offset;
                self.earliest = source.appended;
                self.chunk.appended = source.appended;
                0
            }
        }
    }

    fn finish_chunk(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        if !chunk.entries.is_empty() {
            self.done.push(Segment { base: self.base, producer: None, chunk: Arc::new(chunk) });
        }
    }

    /// The records that remain, as committed segments.
    pub(crate) fn finish(mut self) -> Vec<Segment> {
        self.finish_chunk();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, appended: i64, records: &[(&str, Option<&str>)]) -> Segment {
        let mut chunk = Chunk { appended, ..Chunk::default() };
        for (n, (key, value)) in records.iter().enumerate() {
            let key = Some(key.as_bytes());
            let value = value.map(str::as_bytes);
            chunk.push(n as u32, NewRecord { key, value, timestamp: 0, headers: b"" });
        }
        Segment { base, producer: Some(1), chunk: Arc::new(chunk) }
    }

    fn compact(segments: &[Segment], now: i64) -> Vec<(i64, String)> {
        let mut latest = Latest::default();
        segments.iter().for_each(|segment| latest.learn(segment));
        let mut rewriter = Rewriter::new(&latest, Tombstones { now, kept_ms: 100 });
        segments.iter().for_each(|segment| rewriter.add(segment));
        let mut left = Vec::new();
        for segment in rewriter.finish() {
            for index in 0..segment.chunk.entries.len() {
                let record = segment.chunk.record(segment.base, index);
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                left.push((record.offset, key));
            }
        }
        left
    }

    #[test]
    fn keeps_the_last_of_each_key_at_its_offset() {
        let segments = [
            segment(0, 0, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]),
            segment(10, 0, &[("b", Some("2")), ("c", Some("1"))]),
        ];
        assert_eq!(compact(&segments, 0), [(2, "a".into()), (10, "b".into()), (11, "c".into())]);
    }

    #[test]
    fn keeps_tombstones_for_a_while() {
        let segments =
            [segment(0, 0, &[("a", Some("1")), ("b", Some("1"))]), segment(5, 50, &[("a", None)])];
        assert_eq!(compact(&segments, 150), [(1, "b".into()), (5, "a".into())]);
        assert_eq!(compact(&segments, 151), [(1, "b".into())], "and what they hid stays gone");
    }

    #[test]
    fn puts_small_chunks_together_but_not_of_different_times() {
        let segments = [
            segment(0, 0, &[("a", Some("1"))]),
            segment(2, 5, &[("b", Some("1"))]),
            segment(4, 90, &[("c", Some("1"))]),
        ];
        let mut latest = Latest::default();
        segments.iter().for_each(|segment| latest.learn(segment));
        let mut rewriter = Rewriter::new(&latest, Tombstones { now: 90, kept_ms: 100 });
        segments.iter().for_each(|segment| rewriter.add(segment));
        let done = rewriter.finish();
        let bases: Vec<_> = done.iter().map(|s| (s.base, s.last(), s.chunk.appended)).collect();
        assert_eq!(bases, [(0, 2, 5), (4, 4, 90)]);
    }
}

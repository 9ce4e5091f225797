//! Which records of a partition were aborted: ranges of one producer each, found by producer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::partition::{ProducerId, Segment};

/// Records of one producer that were aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer: ProducerId,
    pub(crate) first: i64,
    /// The offset of the abort marker.
    pub(crate) marker: i64,
}

/// All aborted ranges of a partition. A clone is cheap and does not see later changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct AbortedRanges {
    /// First offsets by producer and marker.
    firsts: Arc<BTreeMap<(ProducerId, i64), i64>>,
}

impl AbortedRanges {
    pub(crate) fn insert(&mut self, range: Aborted) {
        Arc::make_mut(&mut self.firsts).insert((range.producer, range.marker), range.first);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Aborted> {
        let range = |(&(producer, marker), &first)| Aborted { producer, first, marker };
        self.firsts.iter().map(range)
    }

    /// Forgets the ranges that end below `offset`.
    pub(crate) fn trim(&mut self, offset: i64) {
        if self.firsts.keys().any(|(_, marker)| *marker < offset) {
            Arc::make_mut(&mut self.firsts).retain(|(_, marker), _| *marker >= offset);
        }
    }

    /// Whether a segment, which must lie below the last stable offset, was aborted.
    pub(crate) fn cover(&self, segment: &Segment) -> bool {
        let Some(producer) = segment.producer else { return false };
        if self.firsts.is_empty() {
            return false;
        }
        // Ranges of one producer do not overlap: only the first that ends after the segment can
        // cover it.
        let ends_after = (producer, segment.base)..=(producer, i64::MAX);
        let next = self.firsts.range(ends_after).next();
        next.is_some_and(|(_, first)| *first <= segment.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunk;

    #[test]
    fn covers_what_the_producer_wrote_within_a_range() {
        let mut ranges = AbortedRanges::default();
        ranges.insert(Aborted { producer: 1, first: 10, marker: 15 });
        ranges.insert(Aborted { producer: 1, first: 30, marker: 35 });
        ranges.insert(Aborted { producer: 2, first: 0, marker: 20 });
        let covered = |ranges: &AbortedRanges, producer, base| {
            let chunk = Arc::new(Chunk::default());
            ranges.cover(&Segment { base, producer, chunk })
        };
        let of_one: Vec<_> = (0..40).filter(|base| covered(&ranges, Some(1), *base)).collect();
        assert_eq!(of_one, (10..=15).chain(30..=35).collect::<Vec<_>>());
        assert!(!covered(&ranges, None, 12) && !covered(&ranges, Some(3), 12));
        ranges.trim(16);
        assert!(!covered(&ranges, Some(1), 12) && covered(&ranges, Some(2), 12));
    }
}

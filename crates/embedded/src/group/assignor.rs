//! Assigns partitions evenly, moving as few as possible. The same input always gives the same
//! result.
//!
//! Shares differ by at most one if all members subscribe to the same topics, as those of one
//! application do. If they do not (during an upgrade), no single move makes them more even, but a
//! chain of moves might.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use streams_core::TopicPartition;

use crate::topic::TopicState;

/// What a member subscribes to and owns.
pub(super) struct MemberClaim<'a> {
    pub(super) topics: &'a [Arc<str>],
    /// Its former assignment.
    pub(super) target: &'a BTreeSet<TopicPartition>,
    /// What it actually owns, which may lag behind.
    pub(super) owned: &'a BTreeSet<TopicPartition>,
}

impl MemberClaim<'_> {
    fn wants(&self, partition: &TopicPartition) -> bool {
        self.topics.contains(&partition.topic)
    }
}

type Shares = Vec<BTreeSet<TopicPartition>>;

/// A share for each claim.
pub(super) fn assign(
    claims: &[MemberClaim<'_>],
    topics: &BTreeMap<Arc<str>, TopicState>,
) -> Shares {
    let mut shares: Shares = claims
        .iter()
        .map(|claim| claim.target.iter().filter(|p| claim.wants(p)).cloned().collect())
        .collect();
    let taken: BTreeSet<_> = shares.iter().flatten().cloned().collect();
    let wanted: BTreeSet<_> = claims.iter().flat_map(|claim| claim.topics).collect();
    let existing = wanted.into_iter().filter_map(|name| topics.get(name));
    for topic in existing {
        for number in 0..topic.partitions.len() as i32 {
            let partition = TopicPartition::new(topic.name.clone(), number);
            if !taken.contains(&partition) {
                give(&mut shares, claims, partition);
            }
        }
    }
    while let Some((from, to, partition)) = next_move(&shares, claims) {
        shares[from].remove(&partition);
        shares[to].insert(partition);
    }
    shares
}

/// Gives an unassigned partition to its present owner, or else to the member with the smallest
/// share.
fn give(shares: &mut Shares, claims: &[MemberClaim<'_>], partition: TopicPartition) {
    let candidates = (0..claims.len()).filter(|&n| claims[n].wants(&partition));
    let cost = |&n: &usize| {
        let is_stranger = !claims[n].owned.contains(&partition);
        (is_stranger, shares[n].len(), of_topic(&shares[n], &partition.topic), n)
    };
    if let Some(n) = candidates.min_by_key(cost) {
        shares[n].insert(partition);
    }
}

/// A move from a member to one that has at least two fewer. Each move makes the shares more even,
/// so there is a last one.
fn next_move(
    shares: &Shares,
    claims: &[MemberClaim<'_>],
) -> Option<(usize, usize, TopicPartition)> {
    let mut by_size: Vec<_> = (0..shares.len()).collect();
    by_size.sort_by_key(|&n| (shares[n].len(), n));
    for &from in by_size.iter().rev() {
        for &to in &by_size {
            if shares[from].len() < shares[to].len() + 2 {
                break;
            }
            let movable = shares[from].iter().filter(|p| claims[to].wants(p));
            // Prefer partitions that the receiver still owns or the giver never got, then those of
            // the most uneven topic.
            let gain = |p: &&TopicPartition| {
                let moves_nothing =
                    claims[to].owned.contains(*p) || !claims[from].owned.contains(*p);
                let difference = of_topic(&shares[from], &p.topic) as i64
                    - of_topic(&shares[to], &p.topic) as i64;
                (moves_nothing, difference)
            };
            if let Some(partition) = movable.max_by_key(gain) {
                return Some((from, to, partition.clone()));
            }
        }
    }
    None
}

fn of_topic(share: &BTreeSet<TopicPartition>, topic: &Arc<str>) -> usize {
    share.iter().filter(|partition| partition.topic == *topic).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicConfig;

    struct Fleet {
        topics: BTreeMap<Arc<str>, TopicState>,
        members: Vec<(Vec<Arc<str>>, BTreeSet<TopicPartition>)>,
    }

    impl Fleet {
        fn new(topics: &[(&str, u32)]) -> Self {
            let topics = topics.iter().map(|&(name, count)| {
                let name: Arc<str> = name.into();
                let partitions = (0..count).collect();
                (name.clone(), TopicState { name, partitions, config: TopicConfig::default() })
            });
            Self { topics: topics.collect(), members: Vec::new() }
        }

        fn join(&mut self, topics: &[&str]) {
            self.members.push((topics.iter().map(|t| (*t).into()).collect(), BTreeSet::new()));
        }

        /// Assigns; returns the sizes and how many partitions moved between members.
        fn assign(&mut self) -> (Vec<usize>, usize) {
            let claims: Vec<_> = self
                .members
                .iter()
                .map(|(topics, owned)| MemberClaim { topics, target: owned, owned })
                .collect();
            let shares = assign(&claims, &self.topics);
            let all: BTreeSet<_> = shares.iter().flatten().collect();
            assert_eq!(all.len(), shares.iter().map(BTreeSet::len).sum::<usize>(), "one owner");
            let moved =
                claims.iter().zip(&shares).map(|(c, s)| c.owned.difference(s).count()).sum();
            for (member, share) in self.members.iter_mut().zip(&shares) {
                member.1.clone_from(share);
            }
            (shares.iter().map(BTreeSet::len).collect(), moved)
        }
    }

    #[test]
    fn joins_and_leaves_move_the_least() {
        let mut fleet = Fleet::new(&[("a", 12)]);
        fleet.join(&["a"]);
        assert_eq!(fleet.assign(), (vec![12], 0));
        fleet.join(&["a"]);
        assert_eq!(fleet.assign(), (vec![6, 6], 6));
        fleet.join(&["a"]);
        assert_eq!(fleet.assign(), (vec![4, 4, 4], 4));
        fleet.members.remove(1);
        assert_eq!(fleet.assign(), (vec![6, 6], 0));
        fleet.members.remove(0);
        assert_eq!(fleet.assign(), (vec![12], 0));
    }

    #[test]
    fn each_topic_is_shared_out_where_that_is_possible() {
        let mut fleet = Fleet::new(&[("heavy", 4), ("light", 4)]);
        fleet.join(&["heavy", "light"]);
        fleet.assign();
        fleet.join(&["heavy", "light"]);
        fleet.assign();
        for (_, share) in &fleet.members {
            assert_eq!(of_topic(share, &"heavy".into()), 2, "{share:?}");
        }
    }

    #[test]
    fn members_get_only_what_they_subscribe_to() {
        let mut fleet = Fleet::new(&[("a", 3), ("b", 3)]);
        fleet.join(&["a"]);
        fleet.join(&["a", "b", "missing"]);
        assert_eq!(fleet.assign().0, [3, 3]);
        fleet.join(&["b"]);
        fleet.assign();
        assert!(fleet.members[0].1.iter().all(|p| &*p.topic == "a"));
        assert!(fleet.members[2].1.iter().all(|p| &*p.topic == "b"));
    }

    #[test]
    fn more_members_than_partitions() {
        let mut fleet = Fleet::new(&[("a", 2)]);
        for _ in 0..4 {
            fleet.join(&["a"]);
        }
        assert_eq!(fleet.assign().0, [1, 1, 0, 0]);
    }
}

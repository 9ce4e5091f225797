//! Records what each instance was told and what the log accepted from it, to detect two owners of a
//! partition.
//!
//! An instance that commits an offset continues from one that it knows: from the committed offset
//! it looked up, or from its last confirmed commit. If the log accepts a commit that does not
//! continue from the previous one, two instances owned the partition at once, or one continued from
//! an uncommitted offset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use runtime::transport::{CommittedOffset, ErrorKind, MemberEvent, OffsetCommit, Outgoing, Result};
use streams_core::TopicPartition;

use crate::lock::lock;

/// The commits that the log accepted, of all instances.
#[derive(Debug, Default)]
pub(crate) struct CommitLedger {
    /// The input topics of the task that owns a changelog, by the changelog's topic.
    pub(crate) inputs: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    taken: Mutex<TakenCommits>,
}

#[derive(Debug, Default)]
struct TakenCommits {
    committed: BTreeMap<TopicPartition, (i64, Arc<str>)>,
    last: BTreeMap<TopicPartition, LastCommit>,
    /// Offsets committed outside transactions.
    untransacted: BTreeMap<TopicPartition, i64>,
    /// The offsets of each transaction, in order.
    commits: Vec<Commit>,
    wrong: Option<String>,
    transactions: u64,
    fenced: u64,
    lost: u64,
}

/// The offsets that a transaction committed.
pub(crate) type Commit = BTreeMap<TopicPartition, CommittedOffset>;

/// The last commit of a partition.
#[derive(Debug, Default)]
struct LastCommit {
    before: Option<CommittedOffset>,
    now: Option<CommittedOffset>,
    /// A changelog of the task was written with it.
    shows: bool,
}

impl CommitLedger {
    /// The first violation.
    pub(crate) fn wrong(&self) -> Option<String> {
        lock(&self.taken).wrong.clone()
    }

    /// The offset up to which the input is acknowledged, with any guarantee; `None` if no commit
    /// said so yet.
    pub(crate) fn acknowledged(&self, partition: &TopicPartition) -> Option<i64> {
        let taken = lock(&self.taken);
        let committed = taken.committed.get(partition).map(|(offset, _)| *offset);
        committed.max(taken.untransacted.get(partition).copied())
    }

    /// The number of records acknowledged, of all inputs together.
    pub(crate) fn acknowledged_in_all(&self) -> i64 {
        let taken = lock(&self.taken);
        let committed = taken.committed.values().map(|(offset, _)| *offset);
        committed.chain(taken.untransacted.values().copied()).sum()
    }

    /// How many transactions with offsets the log accepted.
    pub(crate) fn transactions(&self) -> u64 {
        lock(&self.taken).transactions
    }

    /// The offsets of every transaction that had any, in order.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        lock(&self.taken).commits.clone()
    }

    /// How often the log itself fenced a producer, for a newer one or after a transaction timed
    /// out.
    pub(crate) fn fenced(&self) -> u64 {
        lock(&self.taken).fenced
    }

    /// How often the log itself told a member that its partitions are lost.
    pub(crate) fn lost(&self) -> u64 {
        lock(&self.taken).lost
    }
}

/// The part of an open transaction that the log has.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    offsets: BTreeMap<TopicPartition, OffsetStep>,
    /// Partitions that were written by number, which include the changelogs.
    written: BTreeSet<TopicPartition>,
}

/// The range of offsets that a commit covers in a partition.
#[derive(Clone, Debug)]
struct OffsetStep {
    from: Option<i64>,
    to: i64,
    metadata: String,
}

impl Transaction {
    pub(super) fn writes(&mut self, record: &Outgoing<'_>) {
        if let Some(number) = record.partition {
            self.written.insert(TopicPartition::new(Arc::clone(record.topic), number));
        }
    }
}

/// One run of an instance, as the ledger sees it.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    name: Arc<str>,
    ledger: Arc<CommitLedger>,
    known: Arc<Mutex<BTreeMap<TopicPartition, Option<i64>>>>,
}

impl Witness {
    pub(crate) fn new(name: &str, ledger: Arc<CommitLedger>) -> Self {
        Self { name: name.into(), ledger, known: Arc::default() }
    }

    /// For each partition, the offset of the commit before the last one, where the tables can show
    /// that there was a later one.
    pub(super) fn take_back(&self, partitions: &[TopicPartition], found: &mut [CommittedOffset]) {
        let taken = lock(&self.ledger.taken);
        for (partition, found) in partitions.iter().zip(found) {
            let last = taken.last.get(partition).filter(|last| last.shows);
            if let Some(before) = last.and_then(|last| last.before.clone()) {
                *found = before;
            }
        }
    }

    /// The instance was told the committed offsets of these partitions.
    pub(super) fn looked_up(&self, partitions: &[TopicPartition], found: &[CommittedOffset]) {
        let found = found.iter().map(|committed| committed.offset);
        lock(&self.known).extend(partitions.iter().cloned().zip(found));
    }

    /// The log's own response to a producer.
    pub(super) fn said<T>(&self, answer: &Result<T>) {
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Fenced) {
            lock(&self.ledger.taken).fenced += 1;
        }
    }

    /// The log's own event for a member.
    pub(super) fn heard(&self, events: &[MemberEvent]) {
        if events.iter().any(|event| matches!(event, MemberEvent::Lost(_))) {
            lock(&self.ledger.taken).lost += 1;
        }
    }

    /// The log accepted offsets outside any transaction.
    pub(super) fn noted(&self, offsets: &[OffsetCommit]) {
        let offsets = offsets.iter().map(|commit| (commit.partition.clone(), commit.offset));
        lock(&self.ledger.taken).untransacted.extend(offsets);
    }

    /// Offsets were added to a transaction.
    pub(super) fn sent(&self, transaction: &mut Transaction, offsets: &[OffsetCommit]) {
        let known = lock(&self.known);
        for OffsetCommit { partition, offset, metadata } in offsets {
            let from = known.get(partition).copied().flatten();
            let step = OffsetStep { from, to: *offset, metadata: metadata.clone() };
            transaction.offsets.insert(partition.clone(), step);
        }
    }

    /// The log committed a transaction, whether the instance learns of it or not.
    pub(super) fn accepted(&self, transaction: &Transaction) {
        let mut taken = lock(&self.ledger.taken);
        taken.transactions += u64::from(!transaction.offsets.is_empty());
        let committed = |step: &OffsetStep| CommittedOffset {
            offset: Some(step.to),
            metadata: step.metadata.clone(),
        };
        let offsets = transaction.offsets.iter();
        let commit: Commit = offsets.map(|(one, step)| (one.clone(), committed(step))).collect();
        if !commit.is_empty() {
            taken.commits.push(commit);
        }
        for (partition, step) in &transaction.offsets {
            let before = taken.committed.get(partition);
            if before.map(|(offset, _)| *offset) != step.from {
                let from = step.from;
                let to = step.to;
                let name = &self.name;
                let what = format!(
                    "two owners of {partition} at once: {name} continued from {from:?} to {to}, \
                     and {before:?} was committed"
                );
                taken.wrong.get_or_insert(what);
            } else if before.is_some_and(|(offset, _)| *offset > step.to) {
                let what = format!("{} set {partition} back to {}", self.name, step.to);
                taken.wrong.get_or_insert(what);
            }
            taken.committed.insert(partition.clone(), (step.to, Arc::clone(&self.name)));
            let now = committed(step);
            let shows = transaction.written.iter().any(|one| self.is_changelog(one, partition));
            let last = taken.last.remove(partition).unwrap_or_default();
            taken
                .last
                .insert(partition.clone(), LastCommit { before: last.now, now: Some(now), shows });
        }
        let wrong =
            transaction.written.iter().find(|written| !self.is_covered(transaction, written));
        if let Some(written) = wrong {
            let what = format!("{} wrote {written} without the offsets of its task", self.name);
            taken.wrong.get_or_insert(what);
        }
    }

    /// A changelog entry without its task's offsets, or offsets without it, would be an effect that
    /// can happen twice.
    fn is_covered(&self, transaction: &Transaction, written: &TopicPartition) -> bool {
        let mut offsets = transaction.offsets.keys();
        !self.ledger.inputs.contains_key(&written.topic)
            || offsets.any(|input| self.is_changelog(written, input))
    }

    /// Whether `written` is a changelog of the task that reads `input`.
    fn is_changelog(&self, written: &TopicPartition, input: &TopicPartition) -> bool {
        let inputs = self.ledger.inputs.get(&written.topic);
        let is_its = inputs.is_some_and(|topics| topics.contains(&input.topic));
        is_its && written.partition == input.partition
    }

    /// The instance learned that its transaction is committed.
    pub(super) fn told(&self, transaction: &Transaction) {
        let offsets = transaction.offsets.iter();
        let offsets = offsets.map(|(partition, step)| (partition.clone(), Some(step.to)));
        lock(&self.known).extend(offsets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition::new("in", 0)
    }

    fn look_up(witness: &Witness, offset: Option<i64>) {
        let found = CommittedOffset { offset, metadata: String::new() };
        witness.looked_up(&[partition()], &[found]);
    }

    fn transaction(witness: &Witness, offset: i64) -> Transaction {
        let mut transaction = Transaction::default();
        let commit = OffsetCommit { partition: partition(), offset, metadata: String::new() };
        witness.sent(&mut transaction, &[commit]);
        transaction
    }

    fn two() -> (Arc<CommitLedger>, Witness, Witness) {
        let inputs = BTreeMap::from([("changelog".into(), vec!["in".into()])]);
        let ledger = Arc::new(CommitLedger { inputs, ..CommitLedger::default() });
        let one = |name| Witness::new(name, Arc::clone(&ledger));
        (Arc::clone(&ledger), one("one"), one("two"))
    }

    #[test]
    fn consecutive_owners_are_accepted() {
        let (ledger, one, two) = two();
        look_up(&one, None);
        let first = transaction(&one, 5);
        one.accepted(&first);
        one.told(&first);
        one.accepted(&transaction(&one, 7));
        // The reply was lost: the next owner looks it up.
        look_up(&two, Some(7));
        two.accepted(&transaction(&two, 9));
        assert_eq!(ledger.wrong(), None);
        assert_eq!(ledger.transactions(), 3);
    }

    #[test]
    fn two_owners_are_noticed() {
        let (ledger, one, two) = two();
        look_up(&one, None);
        look_up(&two, None);
        one.accepted(&transaction(&one, 5));
        two.accepted(&transaction(&two, 5));
        let wrong = ledger.wrong().expect("two owners");
        assert!(wrong.contains("continued from None to 5"), "{wrong}");
    }

    #[test]
    fn continuing_after_an_unknown_outcome_is_noticed() {
        let (ledger, one, _) = two();
        look_up(&one, None);
        one.accepted(&transaction(&one, 5));
        one.accepted(&transaction(&one, 8));
        assert!(ledger.wrong().is_some());
    }

    #[test]
    fn acknowledged_offsets_are_known_with_any_guarantee() {
        let (ledger, one, _) = two();
        assert_eq!(ledger.acknowledged(&partition()), None);
        one.accepted(&transaction(&one, 5));
        assert_eq!(ledger.acknowledged(&partition()), Some(5));
        let commit = OffsetCommit { partition: partition(), offset: 7, metadata: String::new() };
        one.noted(&[commit]);
        assert_eq!(ledger.acknowledged(&partition()), Some(7));
    }

    #[test]
    fn effects_without_their_offsets_are_noticed() {
        let (ledger, one, _) = two();
        let mut effects = Transaction::default();
        effects.written.insert(TopicPartition::new("elsewhere", 0));
        one.accepted(&effects);
        assert_eq!(ledger.wrong(), None);
        effects.written.insert(TopicPartition::new("changelog", 0));
        one.accepted(&effects);
        let wrong = ledger.wrong().expect("effects alone");
        assert!(wrong.contains("changelog"), "{wrong}");
    }
}

//! What the scripted log contains, the requests that it got, and its next answers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};

use headwater_runtime::transport::{
    CommittedOffset, ErrorKind, MemberEvent, NewTopic, OffsetCommit, Result, TopicInfo,
    TransportError,
};
use streams_core::{OwnedRecord, TopicPartition};

/// A log that writes down every request and answers as its test says. Clones are the same log.
///
/// Requests are words: `begin`, `send out-0`, `flush`, `offsets in-0@3`, `commit`, `abort`,
/// `read shop-counts-changelog-0 from 4`, `fetch in-0 from 3`, …
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) requests: Vec<String>,
    answers: VecDeque<Answer>,
    pub(crate) topics: BTreeMap<Arc<str>, TopicInfo>,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    pub(crate) committed: BTreeMap<TopicPartition, CommittedOffset>,
    pub(crate) events: VecDeque<MemberEvent>,
    /// The member's id; `None` while it is not a member.
    pub(crate) member_id: Option<Arc<str>>,
    pub(crate) transaction: Transaction,
}

/// The next request that begins with `request` fails with `kind`.
struct Answer {
    request: String,
    kind: ErrorKind,
    /// Whether the request takes effect nevertheless.
    happens: bool,
}

/// What was sent and is neither committed nor aborted.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) sent: Vec<(TopicPartition, i64)>,
    pub(crate) offsets: Vec<OffsetCommit>,
}

/// A partition of the log.
#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) begin: i64,
    pub(crate) end: i64,
    pub(crate) records: Vec<OwnedRecord>,
    /// Readers get nothing from this offset on, as before an open transaction.
    pub(crate) held_from: Option<i64>,
    /// Ends that a former leader reports, before the right one.
    pub(crate) stale_ends: VecDeque<i64>,
}

impl Script {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next request that begins with these words fails, and nothing of it happens.
    pub(crate) fn fail(&self, request: &str, kind: ErrorKind) {
        let answer = Answer { request: request.to_owned(), kind, happens: false };
        self.lock().answers.push_back(answer);
    }

    /// The next request that begins with these words happens, but its answer is an error.
    pub(crate) fn lose_the_answer_to(&self, request: &str, kind: ErrorKind) {
        let answer = Answer { request: request.to_owned(), kind, happens: true };
        self.lock().answers.push_back(answer);
    }

    pub(crate) fn member_event(&self, event: MemberEvent) {
        self.lock().events.push_back(event);
    }

    pub(crate) fn set_member_id(&self, member_id: Option<&str>) {
        self.lock().member_id = member_id.map(Arc::from);
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_requests(&self) {
        self.lock().requests.clear();
    }

    /// How many requests began with these words.
    pub(crate) fn count(&self, request: &str) -> usize {
        self.lock().requests.iter().filter(|one| one.starts_with(request)).count()
    }

    /// Those requests that begin with one of these words, in their order.
    pub(crate) fn order_of(&self, requests: &[&str]) -> Vec<String> {
        let is_wanted = |one: &&String| requests.iter().any(|wanted| one.starts_with(wanted));
        self.lock().requests.iter().filter(is_wanted).cloned().collect()
    }

    /// The offsets of a topic's records that readers of committed records see.
    pub(crate) fn visible(&self, topic: &str) -> Vec<i64> {
        let state = self.lock();
        let is_open = |offset: i64| state.transaction.sent.contains(&(in_0(topic), offset));
        let offsets = state.partitions[&in_0(topic)].records.iter().map(|record| record.offset);
        offsets.filter(|offset| !is_open(*offset)).collect()
    }

    pub(crate) fn committed_offset(&self, topic: &str) -> Option<CommittedOffset> {
        self.lock().committed.get(&in_0(topic)).cloned()
    }

    pub(crate) fn set_committed(&self, topic: &str, offset: i64, metadata: &str) {
        let committed = CommittedOffset { offset: Some(offset), metadata: metadata.to_owned() };
        self.lock().committed.insert(in_0(topic), committed);
    }

    /// Changes a partition that has no records yet, or has some.
    pub(crate) fn change(&self, topic: &str, change: impl FnOnce(&mut Partition)) {
        change(self.lock().partitions.entry(in_0(topic)).or_default());
    }
}

/// Every topic has one partition.
pub(crate) fn in_0(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

impl State {
    /// Notes a request and answers it: `Ok` if it should take effect.
    pub(crate) fn request(&mut self, request: impl Display) -> Result<()> {
        self.answer(request, |_| ())
    }

    /// Notes a request, carries it out, and answers it.
    pub(crate) fn answer(
        &mut self,
        request: impl Display,
        act: impl FnOnce(&mut Self),
    ) -> Result<()> {
        let request = request.to_string();
        let is_next = |answer: &Answer| request.starts_with(&answer.request);
        let found = self.answers.iter().position(is_next);
        let answer = found.and_then(|at| self.answers.remove(at));
        let told = match &answer {
            Some(Answer { kind, .. }) => format!("{request} -> {kind:?}"),
            None => request.clone(),
        };
        self.requests.push(told);
        if answer.as_ref().is_none_or(|answer| answer.happens) {
            act(self);
        }
        match answer {
            Some(answer) => Err(TransportError::new(answer.kind, request, "as the script says")),
            None => Ok(()),
        }
    }

    pub(crate) fn create(&mut self, topic: &NewTopic) {
        let setting = |name: &str| {
            let found = topic.config.iter().find(|(setting, _)| setting == name);
            found.map(|(_, value)| value.clone())
        };
        let mut info = TopicInfo::new(Arc::clone(&topic.name), topic.partitions);
        info.cleanup_policy = setting("cleanup.policy").unwrap_or(info.cleanup_policy);
        let retention = setting("retention.ms").and_then(|value| value.parse().ok());
        info.retention_ms = retention.unwrap_or(info.retention_ms);
        self.partitions.entry(in_0(&topic.name)).or_default();
        self.topics.insert(Arc::clone(&topic.name), info);
    }

    /// Appends a record to a partition, inside the open transaction.
    pub(crate) fn append(&mut self, topic: &str, record: OwnedRecord) {
        let partition = self.partitions.entry(in_0(topic)).or_default();
        let offset = partition.end;
        partition.records.push(OwnedRecord { offset, ..record });
        partition.end += 1;
        self.transaction.sent.push((in_0(topic), offset));
    }

    /// Makes what was sent visible with the offsets, and gives each partition a marker.
    pub(crate) fn commit(&mut self) {
        let Transaction { sent, offsets } = std::mem::take(&mut self.transaction);
        self.write_markers(&sent);
        for OffsetCommit { partition, offset, metadata } in offsets {
            self.committed.insert(partition, CommittedOffset { offset: Some(offset), metadata });
        }
    }

    /// Drops what was sent, and gives each partition a marker.
    pub(crate) fn abort(&mut self) {
        let Transaction { sent, .. } = std::mem::take(&mut self.transaction);
        for (partition, offset) in &sent {
            let partition = self.partitions.get_mut(partition).unwrap();
            partition.records.retain(|record| record.offset != *offset);
        }
        self.write_markers(&sent);
    }

    fn write_markers(&mut self, sent: &[(TopicPartition, i64)]) {
        let partitions = self.partitions.iter_mut();
        let written = partitions.filter(|(name, _)| sent.iter().any(|(one, _)| one == *name));
        written.for_each(|(_, partition)| partition.end += 1);
    }
}

//! The runtime's traits over a script.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use headwater_runtime::transport::{
    Admin, CommittedOffset, ErrorKind, FetchProgress, Fetched, Fetcher, Group, GroupMetadata,
    Member, MemberConfig, MemberEvent, NewTopic, OffsetCommit, Outgoing, Producer, ProducerConfig,
    Reader, ReaderConfig, Result, TopicInfo, Transport, TransportError,
};
use streams_core::{OwnedBatch, OwnedRecord, TopicPartition};

use super::script::{Script, State};

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Transport for Script {
    fn admin(&self) -> Result<Box<dyn Admin>> {
        Ok(Box::new(self.clone()))
    }

    fn member(&self, _: &MemberConfig) -> Result<Box<dyn Member>> {
        Ok(Box::new(self.clone()))
    }

    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>> {
        self.lock().request("open producer")?;
        let is_transactional = config.transactional_id.is_some();
        Ok(Box::new(ScriptedProducer {
            script: self.clone(),
            is_transactional,
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }))
    }

    fn reader(&self, _: &ReaderConfig) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Cursors { script: self.clone(), positions: BTreeMap::new() }))
    }
}

impl Admin for Script {
    fn describe(&mut self, topics: &[Arc<str>], _: Duration) -> Result<Vec<Option<TopicInfo>>> {
        let state = self.lock();
        Ok(topics.iter().map(|topic| state.topics.get(topic).cloned()).collect())
    }

    fn create(&mut self, topic: &NewTopic, _: Duration) -> Result<()> {
        self.lock().create(topic);
        Ok(())
    }

    fn delete_records(&mut self, _: &[(TopicPartition, i64)], _: Duration) -> Result<()> {
        Ok(())
    }
}

impl Member for Script {
    fn poll(&mut self, _: Duration) -> Result<Vec<MemberEvent>> {
        Ok(self.lock().events.drain(..).collect())
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        partitions.iter().try_for_each(|one| self.lock().request(format!("assign {one}")))
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        partitions.iter().try_for_each(|one| self.lock().request(format!("unassign {one}")))
    }

    fn fetcher(&self) -> Result<Box<dyn Fetcher>> {
        Ok(Box::new(Cursors { script: self.clone(), positions: BTreeMap::new() }))
    }

    fn group(&self) -> Arc<dyn Group> {
        Arc::new(self.clone())
    }

    fn leave(&mut self, _: Duration) -> Result<()> {
        self.lock().request("leave")
    }
}

impl Group for Script {
    fn metadata(&self) -> Result<GroupMetadata> {
        match &self.lock().member_id {
            Some(member_id) => Ok(GroupMetadata {
                group_id: "shop".into(),
                generation: 1,
                member_id: Arc::clone(member_id),
                instance_id: None,
            }),
            None => Err(TransportError::new(ErrorKind::Fenced, "the group", "no member")),
        }
    }

    fn committed(&self, of: &[TopicPartition], _: Duration) -> Result<Vec<CommittedOffset>> {
        let mut state = self.lock();
        state.request("look up committed offsets")?;
        let none = CommittedOffset { offset: None, metadata: String::new() };
        let committed = |one: &TopicPartition| state.committed.get(one).unwrap_or(&none).clone();
        Ok(of.iter().map(committed).collect())
    }

    fn commit(&self, offsets: &[OffsetCommit], _: Duration) -> Result<()> {
        self.lock().answer(format!("commit offsets {}", told(offsets)), |state| {
            state.transaction.offsets = offsets.to_vec();
            state.commit();
        })
    }
}

fn told(offsets: &[OffsetCommit]) -> String {
    let told = |one: &OffsetCommit| format!("{}@{}", one.partition, one.offset);
    offsets.iter().map(told).collect::<Vec<_>>().join(" ")
}

struct ScriptedProducer {
    script: Script,
    is_transactional: bool,
    /// The last offset that was written to each partition, and the last that was acknowledged.
    sent: BTreeMap<TopicPartition, i64>,
    acknowledged: BTreeMap<TopicPartition, i64>,
}

impl Producer for ScriptedProducer {
    fn init(&mut self, _: Duration) -> Result<()> {
        // Fences the last one, whose open transaction is aborted.
        self.script.lock().answer("init", State::abort)
    }

    fn begin(&mut self) -> Result<()> {
        self.script.lock().request("begin")
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        let mut state = self.script.lock();
        let partition = TopicPartition::new(Arc::clone(record.topic), 0);
        let owned = OwnedRecord {
            timestamp: record.timestamp,
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
            ..OwnedRecord::default()
        };
        state.answer(format!("send {partition}"), |state| state.append(record.topic, owned))?;
        let offset = state.partitions[&partition].end - 1;
        self.sent.insert(partition, offset);
        Ok(())
    }

    fn flush(&mut self, _: Duration) -> Result<()> {
        let mut state = self.script.lock();
        state.request("flush")?;
        self.acknowledged.clone_from(&self.sent);
        if !self.is_transactional {
            state.transaction.sent.clear();
        }
        Ok(())
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        _: &GroupMetadata,
        _: Duration,
    ) -> Result<()> {
        let request = format!("offsets {}", told(offsets));
        self.script.lock().answer(request, |state| state.transaction.offsets = offsets.to_vec())
    }

    fn commit(&mut self, _: Duration) -> Result<()> {
        self.script.lock().answer("commit", State::commit)
    }

    fn abort(&mut self, _: Duration) -> Result<()> {
        self.script.lock().answer("abort", State::abort)
    }

    fn track(&mut self, _: &TopicPartition) {}

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.acknowledged.get(partition).copied()
    }
}

/// Positions in partitions: a fetcher or a reader.
struct Cursors {
    script: Script,
    positions: BTreeMap<TopicPartition, i64>,
}

impl Cursors {
    /// All that may be read of each partition. Positions pass what is not there.
    fn read(&mut self) -> Vec<Fetched> {
        let state = self.script.lock();
        let mut fetched = Vec::new();
        for (name, position) in &mut self.positions {
            let partition = &state.partitions[name];
            let end = partition.held_from.unwrap_or(partition.end);
            let is_readable = |record: &&OwnedRecord| (*position..end).contains(&record.offset);
            let records: Vec<_> = partition.records.iter().filter(is_readable).cloned().collect();
            if !records.is_empty() {
                let batch = Box::new(OwnedBatch::from(records));
                fetched.push(Fetched { partition: name.clone(), batch });
            }
            *position = (*position).max(end);
        }
        fetched
    }
}

impl Fetcher for Cursors {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        let offset = offset.unwrap_or(0);
        self.positions.insert(partition.clone(), offset);
        self.script.lock().request(format!("fetch {partition} from {offset}"))
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.positions.remove(partition);
        self.script.lock().request(format!("stop fetching {partition}"))
    }

    fn pause(&mut self, _: &TopicPartition) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, _: &TopicPartition) -> Result<()> {
        Ok(())
    }

    fn poll(&mut self, _: Duration, _: usize) -> Result<Vec<Fetched>> {
        Ok(self.read())
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::new(|| ())
    }

    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        let state = self.script.lock();
        self.positions.get(partition).is_some_and(|at| *at >= state.partitions[partition].end)
    }

    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        Vec::new()
    }
}

impl Reader for Cursors {
    fn bounds(&mut self, partition: &TopicPartition, _: Duration) -> Result<(i64, i64)> {
        let mut state = self.script.lock();
        state.request(format!("bounds {partition}"))?;
        let partition = state.partitions.entry(partition.clone()).or_default();
        let end = partition.stale_ends.pop_front().unwrap_or(partition.end);
        Ok((partition.begin, end))
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.positions.insert(partition.clone(), offset);
        self.script.lock().request(format!("read {partition} from {offset}"))
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.positions.remove(partition);
        Ok(())
    }

    fn poll(&mut self, _: Duration, _: usize) -> Result<Vec<Fetched>> {
        Ok(self.read())
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.positions.get(partition).copied()
    }
}

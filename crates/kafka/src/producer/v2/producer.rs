//! The transport's producer over this client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use runtime::transport::{
    ErrorKind, GroupMetadata, OffsetCommit, Outgoing, Producer, Result, TransportError,
};
use streams_core::TopicPartition;

use super::error;
use super::lane::Lane;
use super::outbox::{LaneId, Outbox};
use super::sender::Senders;
use super::settings::Settings;
use super::topics::Topics;
use super::transaction::Coordinators;
use crate::cluster::{Cluster, MISSING};
use crate::wire::{self, Code, FoundTopic, Leader, TxnOffsetCommit};

pub(crate) struct V2Producer {
    cluster: Arc<Cluster>,
    outbox: Arc<Outbox>,
    senders: Arc<Senders>,
    coordinators: Coordinators,
    topics: Topics,
    /// How large a batch topics take.
    bytes_max: BTreeMap<Arc<str>, usize>,
    refreshed: Instant,
    in_transaction: bool,
}

/// Between questions about a topic that is not there yet.
const PAUSE: Duration = Duration::from_millis(20);

/// How long `send` waits for space.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often topics are asked whether they have grown, and who leads them.
const REFRESH: Duration = Duration::from_secs(30);

/// How long that may take, in the worker's way.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

impl V2Producer {
    pub(crate) fn new(cluster: Arc<Cluster>, settings: Settings) -> Self {
        let (id, backoff) = (settings.transactional_id.clone(), settings.backoff);
        let coordinators = Coordinators::new(Arc::clone(&cluster), &id, backoff);
        let outbox = Arc::new(Outbox::new(settings));
        let senders = Arc::new(Senders::new(Arc::clone(&outbox), Arc::clone(&cluster)));
        Self {
            cluster,
            outbox,
            senders,
            coordinators,
            topics: Topics::default(),
            bytes_max: BTreeMap::new(),
            refreshed: Instant::now(),
            in_transaction: false,
        }
    }

    /// Looks a topic up before the first record goes to it: it is not created by being named.
    fn look_up(&mut self, name: &Arc<str>) -> Result<usize> {
        let context = || format!("sending to {name}");
        let found = self.find(name, Instant::now() + MISSING);
        let found = found.map_err(|error| error::plain(&context(), error))?;
        self.insert(name, &found.leaders)
    }

    /// A topic that was just made is known to one broker earlier than to the other.
    fn find(&self, name: &Arc<str>, deadline: Instant) -> wire::Result<FoundTopic> {
        loop {
            let found = self.cluster.topics(&[Arc::clone(name)], deadline)?.into_iter().next();
            let code = match found {
                Some(topic) if topic.code == Code::NONE => return Ok(topic),
                found => found.map_or(Code::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.code),
            };
            if !code.is_passing() || Instant::now() + PAUSE >= deadline {
                return Err(code.into());
            }
            self.cluster.ask_another();
            thread::sleep(PAUSE);
        }
    }

    /// Makes lanes for the partitions of a topic that have none yet.
    fn insert(&mut self, name: &Arc<str>, leaders: &[Leader]) -> Result<usize> {
        let any = self.cluster.any().unwrap_or(0);
        let known = |leader: &Leader| {
            let broker = if leader.broker >= 0 { leader.broker } else { any };
            Leader { broker, ..*leader }
        };
        self.senders.start(leaders.iter().map(|leader| known(leader).broker))?;
        let lanes = self.topics.find(name).map(|number| self.topics.lanes(number).to_vec());
        let mut lanes = lanes.unwrap_or_default();
        // One that was deleted and made again may have fewer.
        lanes.truncate(leaders.len());
        for (partition, leader) in (0..).zip(leaders).skip(lanes.len()) {
            let mut lane = Lane::new(Arc::clone(name), partition, known(leader));
            lane.bytes_max = self.bytes_max.get(name).copied().unwrap_or(usize::MAX);
            lanes.push(self.outbox.add_lane(lane));
        }
        Ok(self.topics.insert(name, lanes))
    }

    /// A topic may grow; its keys have to go where everybody else's go. And a leader may be cut off
    /// from the other brokers without knowing that there is another one.
    fn refresh(&mut self) {
        self.refreshed = Instant::now();
        let names = self.topics.names();
        self.cluster.ask_another();
        let deadline = Instant::now() + REFRESH_TIMEOUT;
        let Ok(found) = self.cluster.topics(&names, deadline) else { return };
        for topic in found.iter().filter(|topic| topic.code == Code::NONE) {
            if let Err(error) = self.insert(&topic.name, &topic.leaders) {
                tracing::warn!(target: "headwater::kafka", %error, "looking topics up again");
                continue;
            }
            self.outbox.lead(&topic.name, &topic.leaders, Lane::follow);
        }
    }

    fn lane(&mut self, record: &Outgoing<'_>) -> Result<LaneId> {
        let number = match self.topics.find(record.topic) {
            Some(number) => number,
            None => self.look_up(record.topic)?,
        };
        if let Some(lane) = self.topics.lane(number, record, &self.outbox) {
            return Ok(lane);
        }
        self.look_up(record.topic)?;
        self.topics.lane(number, record, &self.outbox).ok_or_else(|| {
            let partition = record.partition.unwrap_or_default();
            let context = format!("sending to {}-{partition}", record.topic);
            TransportError::new(ErrorKind::NotFound, context, "there is no such partition")
        })
    }

    fn end(&mut self, commits: bool, timeout: Duration) -> Result<()> {
        self.in_transaction = false;
        // A transaction that the coordinator does not know of cannot be ended, and need not be.
        if !self.outbox.is_started() {
            return Ok(());
        }
        let context = if commits { "committing" } else { "aborting" };
        let deadline = Instant::now() + timeout;
        let next = self.coordinators.end(self.outbox.identity(), commits, deadline);
        let next = next.map_err(|error| error::transactional(context, error))?;
        self.outbox.identify(next);
        Ok(())
    }
}

impl Producer for V2Producer {
    fn limit_batches(&mut self, topic: &Arc<str>, bytes_max: usize) {
        self.bytes_max.insert(Arc::clone(topic), bytes_max);
        self.outbox.limit_batches(topic, bytes_max);
    }

    fn init(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let transaction_timeout = self.outbox.settings.transaction_timeout;
        let identity = self.coordinators.init(transaction_timeout, deadline);
        let identity =
            identity.map_err(|error| error::plain("initializing transactions", error))?;
        self.outbox.identify(identity);
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if self.in_transaction {
            let context = "beginning a transaction";
            return Err(TransportError::new(ErrorKind::Fatal, context, "one is open already"));
        }
        if self.refreshed.elapsed() >= REFRESH {
            self.refresh();
        }
        self.in_transaction = true;
        Ok(())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        if !self.in_transaction {
            let context = format!("sending to {}", record.topic);
            return Err(TransportError::new(ErrorKind::Fatal, context, "no transaction is open"));
        }
        let lane = self.lane(record)?;
        self.outbox.add(lane, record, PATIENCE)
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.outbox.flush(timeout)
    }

    fn send_offsets(
        &mut self,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for OffsetCommit { partition, offset, metadata } in offsets {
            let of_topic = topics.entry(&partition.topic).or_default();
            of_topic.push((partition.partition, *offset, metadata.as_str()));
        }
        let topics: Vec<_> = topics.into_iter().collect();
        let request = TxnOffsetCommit {
            transactional_id: &self.outbox.settings.transactional_id,
            identity: self.outbox.identity(),
            group: &group.group_id,
            generation: group.generation,
            member: &group.member_id,
            instance: group.instance_id.as_deref(),
            topics: &topics,
        };
        self.outbox.start();
        let added = self.coordinators.add_offsets(&request, Instant::now() + timeout);
        added.map_err(|error| error::transactional("adding offsets to the transaction", error))
    }

    fn commit(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        self.flush(timeout)?;
        self.end(true, deadline.saturating_duration_since(Instant::now()))
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        self.outbox.abandon();
        self.end(false, timeout)
    }

    fn track(&mut self, partition: &TopicPartition) {
        self.topics.track(partition);
    }

    fn last_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.outbox.last_offset(self.topics.tracked(partition)?)
    }

    fn in_flight_bytes(&self) -> usize {
        self.outbox.bytes()
    }
}

impl Drop for V2Producer {
    fn drop(&mut self) {
        // What is in flight belongs to a transaction that nobody will commit.
        self.outbox.close();
    }
}

//! The group member: control plane over librdkafka's consumer.
//!
//! The rebalance callback only notes what the group decided. librdkafka waits for the
//! (un)assignment, which need not come from inside the callback, and heartbeats meanwhile from its
//! own thread; so this thread goes on polling while tasks are being closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_client::{FetchSettings, KafkaCluster, MemoryShare};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use runtime::transport::{
    ErrorKind, Fetcher, Group, Member, MemberConfig, MemberEvent, Result, TransportError,
};
use streams_core::TopicPartition;

use crate::absence::Absence;
use crate::client::OwnFetcher;
use crate::config::{KafkaConfig, Role};
use crate::consumer::{Consumer, Context, Rebalance, is_all_down, list};
use crate::error;
use crate::group::KafkaGroup;
use crate::librdkafka::{KafkaFetcher, Queue};

pub(crate) struct KafkaMember {
    consumer: Arc<Consumer>,
    group: Arc<KafkaGroup>,
    /// What our own client fetches with, unless librdkafka fetches.
    own_fetching: Option<OwnFetching>,
    absence: Absence,
    is_leaving: bool,
}

struct OwnFetching {
    cluster: Arc<KafkaCluster>,
    settings: FetchSettings,
    share: MemoryShare,
}

impl KafkaMember {
    pub(crate) fn join(
        kafka: &KafkaConfig,
        config: &MemberConfig,
        own: Option<(Arc<KafkaCluster>, FetchSettings)>,
    ) -> Result<Self> {
        let failed = |error| error::plain(format!("joining the group {}", config.group_id), error);
        let consumer: Consumer = client_config(kafka, config, own.is_some())
            .create_with_context(Context::default())
            .map_err(failed)?;
        let topics: Vec<&str> = config.topics.iter().map(|topic| &**topic).collect();
        let consumer = Arc::new(consumer);
        crate::consumer::keep_token(kafka, &consumer)?;
        consumer.subscribe(&topics).map_err(failed)?;
        let group = Arc::new(KafkaGroup::new(Arc::clone(&consumer), Arc::clone(&config.group_id)));
        let share = MemoryShare::new(config.fetch_bytes_max);
        let own_fetching = own.map(|(cluster, settings)| OwnFetching { cluster, settings, share });
        let absence = Absence::new(config.session_timeout);
        Ok(Self { consumer, group, own_fetching, absence, is_leaving: false })
    }

    /// An error if the client has been nobody for too long, although the brokers are there.
    fn check_absence(&mut self) -> Result<()> {
        let is_member = self.is_leaving || self.group.metadata().is_ok();
        if !self.absence.is_too_long(is_member, Instant::now()) || !self.reaches_brokers() {
            return Ok(());
        }
        let why = "the client has not become a member again in a long time";
        Err(TransportError::new(ErrorKind::Fatal, "the group membership", why))
    }

    fn reaches_brokers(&self) -> bool {
        let own = self.own_fetching.as_ref();
        own.is_none_or(|own| own.cluster.transaction_version(REACHED).is_ok())
    }

    /// Makes librdkafka fetch the partitions that were assigned before, at once. It pauses all of
    /// them while a rebalance is answered, and what resumes them does not wake the thread that
    /// fetches: it may sleep on for a second. A request does wake it.
    fn wake_fetching(&self) {
        if self.own_fetching.is_some() {
            return;
        }
        let Ok(assigned) = self.consumer.assignment() else { return };
        let mut ends = TopicPartitionList::with_capacity(assigned.count());
        for one in assigned.elements() {
            let _ = ends.add_partition_offset(one.topic(), one.partition(), Offset::End);
        }
        if ends.count() > 0
            && let Err(error) = self.consumer.offsets_for_times(ends, WAKE)
        {
            tracing::debug!(target: "headwater::kafka", %error, "fetching goes on when it will");
        }
    }
}

/// How long it may take to find out whether brokers are there.
const REACHED: Duration = Duration::from_secs(1);

/// How long the request that wakes librdkafka may keep the member's thread.
const WAKE: Duration = Duration::from_millis(100);

fn client_config(
    kafka: &KafkaConfig,
    config: &MemberConfig,
    only_member: bool,
) -> rdkafka::ClientConfig {
    let isolation = if config.read_committed { "read_committed" } else { "read_uncommitted" };
    let mut client = kafka.client(Role::Consumer);
    client
        .set("group.id", &*config.group_id)
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.session_timeout.as_millis().to_string())
        .set("heartbeat.interval.ms", config.heartbeat_interval.as_millis().to_string())
        // The member's thread polls all the time; should it ever stand still, it is as good as
        // gone.
        .set("max.poll.interval.ms", config.session_timeout.as_millis().to_string())
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position that the log no longer has must not be jumped over in silence.
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", (config.fetch_bytes_max / 1024).max(1024).to_string());
    if !only_member {
        // A task with several inputs has to know where each of them ends.
        client.set("enable.partition.eof", "true");
    }
    if only_member {
        // Between the assignment and the pause it fetches, for nothing.
        client.set("fetch.message.max.bytes", "1").set("queued.min.messages", "1");
    }
    if let Some(instance_id) = &config.instance_id {
        client.set("group.instance.id", &**instance_id);
    }
    client
}

impl Member for KafkaMember {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<MemberEvent>> {
        match self.consumer.poll(timeout) {
            // Fetched between the assignment and the pause; the fetcher seeks before it delivers,
            // so it comes again.
            None | Some(Ok(_)) => {}
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                let context = "the group membership";
                return Err(TransportError::new(ErrorKind::Fatal, context, code.to_string()));
            }
            // The consumer's context has said that.
            Some(Err(error)) if is_all_down(&error) => {}
            Some(Err(error)) => {
                tracing::warn!(target: "headwater::kafka", %error, "the member's poll");
            }
        }
        self.check_absence()?;
        Ok(self.consumer.context().take().into_iter().map(event).collect())
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut assigned = TopicPartitionList::new();
        for partition in partitions {
            // Any offset will do, the fetcher seeks to the right one; without one librdkafka would
            // look up the committed.
            let added = assigned.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(0),
            );
            added.map_err(|error| error::plain(format!("assigning {partition}"), error))?;
        }
        let failed = |error| error::plain("assigning partitions", error);
        self.consumer.incremental_assign(&assigned).map_err(failed)?;
        self.consumer.pause(&list(partitions)).map_err(failed)?;
        for partition in partitions {
            if let Some(queue) = Queue::of_partition(&self.consumer, partition) {
                queue.forward(None);
            }
        }
        self.wake_fetching();
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let unassigned = self.consumer.incremental_unassign(&list(partitions));
        unassigned.map_err(|error| error::plain("unassigning partitions", error))?;
        self.wake_fetching();
        Ok(())
    }

    fn fetcher(&self) -> Result<Box<dyn Fetcher>> {
        match &self.own_fetching {
            Some(OwnFetching { cluster, settings, share }) => {
                Ok(Box::new(OwnFetcher::new(cluster, settings.clone(), share.clone())?))
            }
            None => Ok(Box::new(KafkaFetcher::new(&self.consumer))),
        }
    }

    fn group(&self) -> Arc<dyn Group> {
        Arc::clone(&self.group) as _
    }

    fn leave(&mut self, _: Duration) -> Result<()> {
        // Not a close: librdkafka lets a static member close without a word to the group, which
        // would then keep its partitions until the session ends. Unsubscribing says
        // goodbye, static or not.
        self.is_leaving = true;
        self.consumer.unsubscribe();
        Ok(())
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // Whoever drops the last handle to the consumer closes it; nobody answers rebalances then.
        self.consumer.context().close();
    }
}

fn event(rebalance: Rebalance) -> MemberEvent {
    match rebalance {
        Rebalance::Assign(partitions) => MemberEvent::Assigned(partitions),
        Rebalance::Revoke { partitions, lost: false } => MemberEvent::Revoked(partitions),
        Rebalance::Revoke { partitions, lost: true } => MemberEvent::Lost(partitions),
    }
}

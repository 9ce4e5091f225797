//! One instance of an application: member, restorers, workers and the reader of global tables,
//! wired together.
//!
//! In production each has a thread ([`threads`](crate::threads)). A simulation turns them one after
//! the other, on one thread ([`ManualApp`](crate::manual::ManualApp)).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};

use streams_core::{StoreProvider, Topology};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::globals::{GlobalReader, GlobalStores};
use crate::local_state::InstanceIdentity;
use crate::member::{GroupMember, GroupMemberParts, LeadTopics, MemberChannels};
use crate::messages::{Mailbox, MemberMessage, RestoreRequest, WorkerMessage};
use crate::repartition_purge::{ConsumedOffsets, Purger};
use crate::restore::{Restorer, RestorerChannels, RestorerParts};
use crate::status::StatusHandle;
use crate::topics::{SinkLimits, TopicMetadata};
use crate::transport::{Member, MemberConfig, ProducerConfig, ReaderConfig, Transport};
use crate::worker::{Worker, WorkerChannels, WorkerParts, WorkerProducer};

/// What an instance is made of.
pub(crate) struct InstanceParts {
    pub(crate) topology: Arc<Topology>,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) stores: Arc<dyn StoreProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: StatusHandle,
    pub(crate) identity: InstanceIdentity,
    pub(crate) metadata: TopicMetadata,
}

/// An instance whose components are not driven by threads yet.
pub(crate) struct Instance {
    pub(crate) member: GroupMember,
    pub(crate) restorers: Vec<Restorer>,
    /// If the topology has global tables.
    pub(crate) globals: Option<GlobalReader>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) to_member: Sender<MemberMessage>,
}

/// What restorers and workers share.
struct Shared {
    member: Mailbox<MemberMessage>,
    consumed: ConsumedOffsets,
    limits: Arc<SinkLimits>,
    globals: Arc<GlobalStores>,
}

impl Instance {
    /// Joins the group and wires the components. Nothing runs yet.
    pub(crate) fn new(parts: &InstanceParts) -> Result<Self, AppError> {
        let lead_topics = LeadTopics::new(&parts.topology, &parts.metadata);
        let transport = parts.transport.member(&member_config(parts, &lead_topics))?;
        let (to_member, member_messages) = channel();
        let shared = Shared {
            // The member polls the group, and the restorers their channels, often enough.
            member: Mailbox::without_waker(to_member.clone()),
            consumed: ConsumedOffsets::new(&parts.topology),
            limits: Arc::new(SinkLimits::new(
                &parts.metadata,
                Arc::clone(&parts.transport),
                Arc::clone(&parts.clock),
            )),
            globals: Arc::new(GlobalStores::open(&parts.topology, &*parts.stores)?),
        };
        let mut to_restorers = Vec::new();
        let mut requests = Vec::new();
        for _ in 0..parts.config.restore_threads {
            let (sender, receiver) = channel();
            to_restorers.push(Mailbox::without_waker(sender));
            requests.push(receiver);
        }
        let mut workers = Vec::new();
        let mut to_workers = Vec::new();
        for index in 0..parts.config.worker_threads {
            let (worker, to_worker) = worker(parts, index, &*transport, &to_restorers, &shared)?;
            workers.push(worker);
            to_workers.push(to_worker);
        }
        let globals = global_reader(parts, &shared.globals)?;
        let mut restorers = Vec::new();
        for (index, requests) in requests.into_iter().enumerate() {
            let group = &*transport;
            restorers.push(restorer(parts, index, group, requests, &to_workers, &shared)?);
        }
        parts.status.set_memory_budget(parts.config.memory.bytes());
        let member = GroupMember::new(GroupMemberParts {
            transport,
            log: Arc::clone(&parts.transport),
            lead_topics,
            channels: MemberChannels {
                messages: member_messages,
                restorers: to_restorers,
                workers: to_workers,
            },
            status: parts.status.clone(),
        });
        Ok(Self { member, restorers, globals, workers, to_member })
    }
}

fn global_reader(
    parts: &InstanceParts,
    stores: &Arc<GlobalStores>,
) -> Result<Option<GlobalReader>, AppError> {
    if parts.topology.globals().is_empty() {
        return Ok(None);
    }
    Ok(Some(GlobalReader::new(
        &parts.topology,
        &parts.metadata,
        Arc::clone(stores),
        parts.transport.reader(&ReaderConfig::new(true))?,
        Arc::clone(&parts.clock),
        parts.status.clone(),
    )))
}

fn member_config(parts: &InstanceParts, lead_topics: &LeadTopics) -> MemberConfig {
    let InstanceIdentity { instance_id, is_kept } = &parts.identity;
    MemberConfig {
        group_id: Arc::clone(parts.topology.application_id()),
        instance_id: is_kept.then(|| Arc::clone(instance_id)),
        topics: lead_topics.names(),
        session_timeout: parts.config.session_timeout,
        heartbeat_interval: parts.config.heartbeat_interval,
        read_committed: parts.config.exactly_once(),
        fetch_bytes_max: parts.config.fetch_bytes(),
    }
}

fn restorer(
    parts: &InstanceParts,
    index: usize,
    member: &dyn Member,
    requests: Receiver<RestoreRequest>,
    workers: &[Mailbox<WorkerMessage>],
    shared: &Shared,
) -> Result<Restorer, AppError> {
    let bytes_max = parts.config.restore_bytes();
    // Under at-least-once too: a changelog may hold what an earlier, exactly-once run aborted.
    let reader = ReaderConfig { read_committed: true, fetch_bytes_max: bytes_max };
    let is_first = index == 0;
    let purger = is_first.then(|| {
        let log = Arc::clone(&parts.transport);
        Purger::new(shared.consumed.clone(), log, Arc::clone(&parts.clock))
    });
    Ok(Restorer::new(RestorerParts {
        index,
        topology: Arc::clone(&parts.topology),
        clock: Arc::clone(&parts.clock),
        stores: Arc::clone(&parts.stores),
        group: member.group(),
        reader: parts.transport.reader(&reader)?,
        channels: RestorerChannels {
            requests,
            workers: workers.to_vec(),
            member: shared.member.clone(),
        },
        status: parts.status.clone(),
        bytes_max,
        globals: Arc::clone(&shared.globals),
        limits: Arc::clone(&shared.limits),
        purger,
    }))
}

fn worker(
    parts: &InstanceParts,
    index: usize,
    member: &dyn Member,
    restorers: &[Mailbox<RestoreRequest>],
    shared: &Shared,
) -> Result<(Worker, Mailbox<WorkerMessage>), AppError> {
    let config = &parts.config;
    let producer = ProducerConfig {
        transactional_id: config.exactly_once().then(|| transactional_id(parts, index)),
        transaction_timeout: config.transaction_timeout,
        buffer_bytes_max: config.producer_bytes(),
    };
    let fetcher = member.fetcher()?;
    let wake = fetcher.waker();
    let (sender, messages) = channel();
    let worker = Worker::new(WorkerParts {
        index,
        config: config.clone(),
        clock: Arc::clone(&parts.clock),
        fetcher,
        producer: WorkerProducer::new(
            Arc::clone(&parts.transport),
            Arc::clone(&parts.clock),
            producer,
            Arc::clone(&shared.limits),
            config.request_timeout,
        ),
        group: member.group(),
        channels: WorkerChannels {
            messages,
            restorers: restorers.to_vec(),
            member: shared.member.clone(),
        },
        status: parts.status.clone(),
        waker: Waker::from(Arc::new(WakeWorker(Arc::clone(&wake)))),
        consumed: shared.consumed.clone(),
    });
    Ok((worker, Mailbox::new(sender, wake)))
}

/// Stable across restarts of the same instance, and different from those of all others.
fn transactional_id(parts: &InstanceParts, worker: usize) -> Arc<str> {
    let application = parts.topology.application_id();
    format!("{application}-{}-{worker}", parts.identity.instance_id).into()
}

/// Wakes a worker for an agent that can go on.
struct WakeWorker(Arc<dyn Fn() + Send + Sync>);

impl Wake for WakeWorker {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

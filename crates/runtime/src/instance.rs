//! One instance of an application: member, restorer and workers, wired together.
//!
//! In production each has a thread that turns it; a simulation turns them one after the other, on
//! one thread, with [`Instance::turn`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::time::Duration;

use streams_core::{Effects, StoreProvider, Topology};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::AppError;
use crate::globals::{GlobalReader, GlobalStores};
use crate::mailbox::Mailbox;
use crate::member::{LeadTopics, Member, MemberMessage};
use crate::repartition_purge::{ConsumedOffsets, Purger};
use crate::restore::{Restorer, RestoringTask, RetryWait};
use crate::status::StatusHandle;
use crate::topics::{SinkLimits, TopicMetadata};
use crate::transport::{self, MemberConfig, ProducerConfig, ReaderConfig, Transport};
use crate::worker::{
    InputQueues, LateRecordsLog, SlowAgentsLog, StallDetector, Worker, WorkerMessage,
    WorkerProducer,
};

/// What an instance is made of.
pub(crate) struct InstanceParts {
    pub(crate) topology: Arc<Topology>,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) stores: Arc<dyn StoreProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: StatusHandle,
    pub(crate) identity: InstanceIdentity,
    pub(crate) layout: TopicMetadata,
}

/// Who this instance is.
#[derive(Clone, Debug)]
pub(crate) struct InstanceIdentity {
    pub(crate) instance_id: Arc<str>,
    /// Whether the next start of this instance has the same id: only then may it be a static
    /// member, for the group would wait for it in vain otherwise.
    pub(crate) is_kept: bool,
}

/// An instance, not yet or no longer driven by threads.
pub(crate) struct Instance {
    pub(crate) member: Member,
    pub(crate) restorers: Vec<Restorer>,
    /// If the topology has global tables.
    pub(crate) globals: Option<GlobalReader>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) notices: Sender<MemberMessage>,
}

impl Instance {
    /// Joins the group and makes the producers. Nothing runs yet.
    pub(crate) fn new(parts: &InstanceParts) -> Result<Self, AppError> {
        let placement = LeadTopics::new(&parts.topology, &parts.layout);
        let transport = parts.transport.member(&member_config(parts, &placement))?;
        let (notices, notices_in) = channel();
        let to_member = unwoken(notices.clone());
        let (to_restorers, inboxes): (Vec<_>, Vec<_>) = (0..parts.config.restore_threads)
            .map(|_| channel())
            .map(|(openings, inbox)| (unwoken(openings), inbox))
            .unzip();
        let mut workers = Vec::new();
        let mut to_workers = Vec::new();
        let consumed = ConsumedOffsets::new(&parts.topology);
        let (log, clock) = (Arc::clone(&parts.transport), Arc::clone(&parts.clock));
        let limits = Arc::new(SinkLimits::new(&parts.layout, log, clock));
        for index in 0..parts.config.worker_threads {
            let wiring = WorkerWiring {
                restorers: to_restorers.clone(),
                member: to_member.clone(),
                consumed: consumed.clone(),
                limits: Arc::clone(&limits),
            };
            let (worker, to_worker) = worker(parts, index, &*transport, wiring)?;
            workers.push(worker);
            to_workers.push(to_worker);
        }
        let rows = Arc::new(GlobalStores::open(&parts.topology, &*parts.stores)?);
        let globals = global_reader(parts, &rows)?;
        let (log, clock) = (&parts.transport, &parts.clock);
        let mut purger = Some(Purger::new(consumed, Arc::clone(log), Arc::clone(clock)));
        let restorers = inboxes.into_iter().enumerate().map(|(index, inbox)| {
            let wiring = RestorerWiring {
                inbox,
                workers: to_workers.clone(),
                member: to_member.clone(),
                globals: Arc::clone(&rows),
                limits: Arc::clone(&limits),
                purger: purger.take(),
            };
            restorer(parts, index, &*transport, wiring)
        });
        let restorers = restorers.collect::<Result<_, _>>()?;
        parts.status.set_memory_budget(parts.config.memory.bytes());
        let member = Member::new(
            (transport, Arc::clone(&parts.transport)),
            Arc::clone(&parts.topology),
            placement,
            notices_in,
            to_restorers,
            to_workers,
            parts.status.clone(),
        );
        Ok(Self { member, restorers, globals, workers, notices })
    }
}

/// Who gets these looks for them by himself.
fn unwoken<T>(sender: Sender<T>) -> Mailbox<T> {
    Mailbox::new(sender, Arc::new(|| ()))
}

fn global_reader(
    parts: &InstanceParts,
    rows: &Arc<GlobalStores>,
) -> Result<Option<GlobalReader>, AppError> {
    let InstanceParts { topology, layout, transport, status, clock, .. } = parts;
    if topology.globals().is_empty() {
        return Ok(None);
    }
    let reader = transport.reader(&ReaderConfig::new(true))?;
    let (rows, clock) = (Arc::clone(rows), Arc::clone(clock));
    Ok(Some(GlobalReader::new(topology, layout, rows, (reader, clock), status.clone())))
}

fn member_config(parts: &InstanceParts, placement: &LeadTopics) -> MemberConfig {
    let InstanceIdentity { instance_id, is_kept } = &parts.identity;
    MemberConfig {
        group_id: Arc::clone(parts.topology.application_id()),
        instance_id: is_kept.then(|| Arc::clone(instance_id)),
        topics: placement.lead_topics(),
        session_timeout: parts.config.session_timeout,
        heartbeat_interval: parts.config.heartbeat_interval,
        read_committed: parts.config.exactly_once(),
        fetch_bytes_max: parts.config.fetch_bytes(),
    }
}

/// Whom a restorer talks to.
struct RestorerWiring {
    inbox: Receiver<RestoringTask>,
    workers: Vec<Mailbox<WorkerMessage>>,
    member: Mailbox<MemberMessage>,
    globals: Arc<GlobalStores>,
    limits: Arc<SinkLimits>,
    purger: Option<Purger>,
}

fn restorer(
    parts: &InstanceParts,
    index: usize,
    member: &dyn transport::Member,
    wiring: RestorerWiring,
) -> Result<Restorer, AppError> {
    // Under at-least-once too: a changelog may hold what an earlier, exactly-once run aborted.
    let bytes_max = parts.config.restore_bytes();
    let reader = ReaderConfig { read_committed: true, fetch_bytes_max: bytes_max };
    Ok(Restorer {
        index,
        topology: Arc::clone(&parts.topology),
        clock: Arc::clone(&parts.clock),
        stores: Arc::clone(&parts.stores),
        group: member.group(),
        reader: parts.transport.reader(&reader)?,
        inbox: wiring.inbox,
        workers: wiring.workers,
        member: wiring.member,
        status: parts.status.clone(),
        openings: Vec::new(),
        delay: RetryWait::default(),
        mismatch: RetryWait::default(),
        bytes_max,
        memory_at: Duration::ZERO,
        globals: wiring.globals,
        limits: wiring.limits,
        purger: wiring.purger,
    })
}

/// Whom a worker talks to.
struct WorkerWiring {
    restorers: Vec<Mailbox<RestoringTask>>,
    member: Mailbox<MemberMessage>,
    consumed: ConsumedOffsets,
    limits: Arc<SinkLimits>,
}

fn worker(
    parts: &InstanceParts,
    index: usize,
    member: &dyn transport::Member,
    wiring: WorkerWiring,
) -> Result<(Worker, Mailbox<WorkerMessage>), AppError> {
    let config = &parts.config;
    let producer = ProducerConfig {
        transactional_id: config.exactly_once().then(|| transactional_id(parts, index)),
        transaction_timeout: config.transaction_timeout,
        buffer_bytes_max: config.producer_bytes(),
    };
    let (transport, clock) = (Arc::clone(&parts.transport), Arc::clone(&parts.clock));
    let fetcher = member.fetcher()?;
    let (sender, commands) = channel();
    let wake = fetcher.waker();
    let waker = Waker::from(Arc::new(WakeWorker(Arc::clone(&wake))));
    let worker = Worker {
        index,
        config: config.clone(),
        producer: WorkerProducer::new(
            transport,
            Arc::clone(&clock),
            producer,
            wiring.limits,
            config.request_timeout,
        ),
        clock,
        fetcher,
        group: member.group(),
        commands,
        restorers: wiring.restorers,
        member: wiring.member,
        consumed: wiring.consumed,
        status: parts.status.clone(),
        waker,
        tasks: Vec::new(),
        next_turn: 0,
        queues: InputQueues::default(),
        effects: Effects::new(),
        commit_at: None,
        commit_after: Duration::ZERO,
        slow_agents: SlowAgentsLog::default(),
        membership_unknown_since: None,
        stall_detector: StallDetector::default(),
        status_at: Duration::ZERO,
        late: LateRecordsLog::default(),
    };
    Ok((worker, Mailbox::new(sender, wake)))
}

/// Stable across restarts of the same instance, and nobody else's.
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

//! A transport with faults: failing calls, lost replies, and a process that is killed or frozen, as
//! a test or a seed says.
//!
//! ```
//! use headwater_testkit::faults::{TransportCall, Fault, Faults};
//! use headwater::spi::transport::ErrorKind;
//! # fn example(log: std::sync::Arc<dyn headwater::spi::transport::Transport>) {
//! let faults = Faults::new();
//! let transport = faults.on(log);
//! // The reply of the next commit is lost; the one after it is fenced.
//! faults.next(TransportCall::Commit, Fault::LostReply);
//! faults.next(TransportCall::Commit, Fault::Fails(ErrorKind::Fenced));
//! # }
//! ```

mod group;
mod ledger;
mod plan;
mod producer;
mod reading;
mod stores;
mod transport;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::transport::{ErrorKind, Result, Transport, TransportError};
use streams_core::TopicPartition;

use crate::lock::lock;
pub(crate) use ledger::{CommitLedger, Transaction, Witness};
use plan::FaultPlan;
pub use stores::SurvivingStores;
use transport::FaultyTransport;

/// The calls of the runtime that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransportCall {
    /// Describing or creating topics, deleting records.
    Admin,
    /// Opening a member, a producer or a reader.
    Open,
    /// Polling the group membership.
    PollGroup,
    /// The client reporting that everything is lost. With a [`Fault::LostReply`] the client does
    /// not report it and joins again, under another member id; it reports only partitions that it
    /// does not get back. Other faults have no effect here.
    Lose,
    /// Taking over partitions.
    Assign,
    /// Giving partitions up.
    Unassign,
    /// Leaving the group.
    Leave,
    /// Asking for this member's identity.
    Metadata,
    /// Asking for committed offsets.
    CommittedOffsets,
    /// Committing offsets outside a transaction.
    CommitOffsets,
    /// Polling for records to process.
    Fetch,
    /// `init` of a producer.
    Init,
    /// `begin` of a transaction.
    Begin,
    /// Sending a record.
    Send,
    /// Waiting for delivery.
    Flush,
    /// Adding offsets to a transaction.
    SendOffsets,
    /// Committing a transaction.
    Commit,
    /// Aborting a transaction.
    Abort,
    /// Asking for the start and end of a partition.
    Bounds,
    /// Polling for changelog records.
    Restore,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does not reach the log, and fails.
    Fails(ErrorKind),
    /// It takes effect; the caller gets [`ErrorKind::Unknown`].
    LostReply,
    /// It reaches the log after this delay.
    Slow(Duration),
    /// It takes effect, and the reply arrives after this delay.
    SlowReply(Duration),
    /// The request arrives twice; the caller gets the first reply. The second copy of a
    /// [`TransportCall::Init`] is late, as with [`Held`](Self::Held): it fences the producer that
    /// has the identity by then.
    Repeated,
    /// At most this many records are delivered; only for a [`TransportCall::Fetch`] or
    /// [`TransportCall::Restore`].
    Partial(usize),
    /// A stale broker answers, which does not know that it was replaced. For a
    /// [`TransportCall::Bounds`] it is a former leader that lacks this many records. For a
    /// [`TransportCall::CommittedOffsets`] in a [`Simulation`](crate::Simulation) it is a former
    /// coordinator that lacks the last commit; only commits that changed a table are left out,
    /// because only those can be noticed. Other calls succeed.
    Outdated(usize),
    /// It is delayed: the caller gets [`ErrorKind::Unknown`], and it arrives with
    /// [`Faults::release`]. Only for a [`TransportCall::Commit`]; other calls are lost.
    Held,
}

/// The faults of one instance. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<FaultsShared>);

#[derive(Default)]
struct FaultsShared {
    state: Mutex<FaultsState>,
    thawed: Condvar,
    decide: Mutex<Option<Decide>>,
    wait: Mutex<Option<Wait>>,
    held: Mutex<Vec<Held>>,
    witness: Mutex<Option<Witness>>,
    away: Mutex<Option<Away>>,
}

/// Decides on the fault of a call.
type Decide = Box<dyn FnMut(TransportCall) -> Option<Fault> + Send>;
/// Lets time pass inside a call.
type Wait = Arc<dyn Fn(TransportCall, Fault) + Send + Sync>;
/// Whether the leader of a partition is away.
type Away = Arc<dyn Fn(&TopicPartition) -> bool + Send + Sync>;
/// A call that has not arrived yet.
type Held = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for FaultsShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct FaultsState {
    process: ProcessState,
    plan: FaultPlan,
    counts: BTreeMap<TransportCall, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ProcessState {
    #[default]
    Alive,
    Frozen,
    Dead,
}

impl Faults {
    /// Creates an instance's faults, with none planned.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps `log` with these faults, for one instance. Others on the same log do not notice.
    pub fn on(&self, log: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(FaultyTransport { log, faults: self.clone() })
    }

    /// Gives this fault to the next call of this kind that has none yet.
    pub fn next(&self, call: TransportCall, fault: Fault) {
        self.lock().plan.next(call, Some(fault));
    }

    /// Lets `count` calls of this kind succeed before the next planned fault.
    pub fn spare(&self, call: TransportCall, calls: usize) {
        (0..calls).for_each(|_| self.lock().plan.next(call, None));
    }

    /// Gives this fault to every call of this kind, until [`heal`](Self::heal).
    pub fn always(&self, call: TransportCall, fault: Fault) {
        self.lock().plan.always(call, fault);
    }

    /// Gives this fault to one in `one_in` calls of this kind from now on, chosen by the seed.
    pub fn sometimes(&self, call: TransportCall, fault: Fault, one_in: u32, seed: u64) {
        self.lock().plan.sometimes(call, fault, one_in, seed);
    }

    /// Asks `decide` about every call from now on, instead of the plan. It may do other work
    /// meanwhile, as a simulation does while a process is frozen.
    pub fn decided_by(&self, decide: impl FnMut(TransportCall) -> Option<Fault> + Send + 'static) {
        *lock(&self.0.decide) = Some(Box::new(decide));
    }

    /// Sets how calls with a [`Fault::Slow`] or [`Fault::SlowReply`] let time pass, instead of
    /// sleeping.
    pub fn waits_by(&self, wait: impl Fn(TransportCall, Fault) + Send + Sync + 'static) {
        *lock(&self.0.wait) = Some(Arc::new(wait));
    }

    /// While `away` says that a partition's leader is unavailable, nothing is fetched from it and
    /// its end is unknown.
    pub fn leaders_are_away_by(
        &self,
        away: impl Fn(&TopicPartition) -> bool + Send + Sync + 'static,
    ) {
        *lock(&self.0.away) = Some(Arc::new(away));
    }

    fn is_away(&self, partition: &TopicPartition) -> bool {
        let away = lock(&self.0.away).clone();
        away.is_some_and(|away| away(partition))
    }

    /// Sets the witness that records what this instance is told and what the log accepts from it.
    pub(crate) fn witnessed_by(&self, witness: Witness) {
        *lock(&self.0.witness) = Some(witness);
    }

    fn witness(&self) -> Option<Witness> {
        lock(&self.0.witness).clone()
    }

    fn wait(&self, call: TransportCall, fault: Fault, time: Duration) {
        let wait = lock(&self.0.wait).clone();
        match wait {
            Some(wait) => wait(call, fault),
            None => std::thread::sleep(time),
        }
    }

    /// Lets held calls arrive; returns how many there were.
    pub fn release(&self) -> usize {
        let held = std::mem::take(&mut *lock(&self.0.held));
        let count = held.len();
        held.into_iter().for_each(|call| call());
        count
    }

    fn hold(&self, call: Held) {
        lock(&self.0.held).push(call);
    }

    /// Removes all faults of calls.
    pub fn heal(&self) {
        self.lock().plan = FaultPlan::default();
    }

    /// Kills the process: no later call reaches the log, not even a leave.
    pub fn kill(&self) {
        self.lock().process = ProcessState::Dead;
        self.0.thawed.notify_all();
    }

    /// Freezes the process (SIGSTOP): calls wait before they reach the log.
    pub fn freeze(&self) {
        let mut state = self.lock();
        if state.process == ProcessState::Alive {
            state.process = ProcessState::Frozen;
        }
    }

    /// Resumes the process (SIGCONT).
    pub fn thaw(&self) {
        let mut state = self.lock();
        if state.process == ProcessState::Frozen {
            state.process = ProcessState::Alive;
        }
        self.0.thawed.notify_all();
    }

    /// How many calls of this kind were made.
    pub fn count(&self, call: TransportCall) -> u64 {
        self.lock().counts.get(&call).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, FaultsState> {
        lock(&self.0.state)
    }

    /// The fault of the next call of this kind. No lock is held meanwhile, because `decide` may
    /// take time and may even kill the process.
    fn fault(&self, call: TransportCall) -> Option<Fault> {
        *self.lock().counts.entry(call).or_default() += 1;
        let decide = lock(&self.0.decide).take();
        let Some(mut decide) = decide else { return self.lock().plan.fault(call) };
        let fault = decide(call);
        lock(&self.0.decide).get_or_insert(decide);
        fault
    }

    /// Waits while the process is frozen; `false` if it is dead.
    fn lives(&self) -> bool {
        let is_frozen = |state: &mut FaultsState| state.process == ProcessState::Frozen;
        let state = self.0.thawed.wait_while(self.lock(), is_frozen);
        state.unwrap_or_else(PoisonError::into_inner).process != ProcessState::Dead
    }

    /// The fault of a call, after waiting out a freeze.
    fn meet(&self, call: TransportCall) -> Result<Option<Fault>> {
        if self.lives() { Ok(self.fault(call)) } else { Err(dead(call)) }
    }

    /// Makes a call, applying its fault.
    fn call<T>(&self, call: TransportCall, make: impl FnMut() -> Result<T>) -> Result<T> {
        let fault = self.meet(call)?;
        self.with(call, fault, make)
    }

    /// Makes a call with this fault.
    fn with<T>(
        &self,
        call: TransportCall,
        fault: Option<Fault>,
        mut make: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        match fault {
            // It may have been killed while that was decided.
            None if !self.lives() => Err(dead(call)),
            None => make(),
            Some(Fault::Fails(kind)) => Err(injected(call, kind, "a planned fault")),
            Some(Fault::Held) => Err(injected(call, ErrorKind::Unknown, "the request was lost")),
            Some(Fault::LostReply) => {
                make()?;
                Err(injected(call, ErrorKind::Unknown, "the reply was lost"))
            }
            Some(slow @ Fault::Slow(time)) => {
                self.wait(call, slow, time);
                // It may have been stopped or killed meanwhile.
                if self.lives() { make() } else { self.call(call, make) }
            }
            Some(slow @ Fault::SlowReply(time)) => {
                let result = make();
                self.wait(call, slow, time);
                if self.lives() { result } else { self.call(call, make) }
            }
            Some(Fault::Repeated) => {
                let result = make();
                let _ = make();
                result
            }
            Some(Fault::Partial(_) | Fault::Outdated(_)) => make(),
        }
    }
}

fn dead(call: TransportCall) -> TransportError {
    injected(call, ErrorKind::Fatal, "the process is dead")
}

fn injected(call: TransportCall, kind: ErrorKind, why: &str) -> TransportError {
    TransportError::new(kind, format!("{call:?}"), why.to_owned())
}

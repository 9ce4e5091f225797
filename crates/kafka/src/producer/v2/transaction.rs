//! The requests that begin and end transactions.
//!
//! All of them may be repeated without a doubt: the coordinator knows the epoch of each
//! transaction, and answers a repeated request as it did the first one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{ATTEMPT, Cluster};
use crate::wire::{
    self, Connection, Coordinator, CoordinatorKind, EndTxn, Identity, InitProducerId,
    TxnOffsetCommit, WireError,
};

/// The coordinators that a producer talks to.
pub(super) struct Coordinators {
    cluster: Arc<Cluster>,
    transactions: Seat,
    group: Option<Seat>,
    backoff: Duration,
}

/// Who coordinates something, as far as is known.
struct Seat {
    kind: CoordinatorKind,
    key: String,
    connection: Option<Connection>,
}

/// Between attempts, at most.
const BACKOFF_MAX: Duration = Duration::from_millis(50);

impl Coordinators {
    pub(super) fn new(cluster: Arc<Cluster>, transactional_id: &str, backoff: Duration) -> Self {
        let transactions = Seat::new(CoordinatorKind::Transaction, transactional_id);
        Self { cluster, transactions, group: None, backoff }
    }

    /// Fences older producers and ends their transactions.
    pub(super) fn init(
        &mut self,
        transaction_timeout: Duration,
        deadline: Instant,
    ) -> wire::Result<Identity> {
        let Self { cluster, transactions, backoff, .. } = self;
        let transactional_id = transactions.key.clone();
        let request =
            InitProducerId { transactional_id: &transactional_id, timeout: transaction_timeout };
        let ask = |connection: &mut Connection, deadline| request.call(connection, deadline);
        transactions.ask(cluster, *backoff, deadline, ask)
    }

    /// Ends a transaction; the answer is the identity for the next one.
    pub(super) fn end(
        &mut self,
        identity: Identity,
        commits: bool,
        deadline: Instant,
    ) -> wire::Result<Identity> {
        let Self { cluster, transactions, backoff, .. } = self;
        let transactional_id = transactions.key.clone();
        let request = EndTxn { transactional_id: &transactional_id, identity, commits };
        let ask = |connection: &mut Connection, deadline| request.call(connection, deadline);
        transactions.ask(cluster, *backoff, deadline, ask)
    }

    /// Adds offsets to the transaction.
    pub(super) fn add_offsets(
        &mut self,
        request: &TxnOffsetCommit<'_>,
        deadline: Instant,
    ) -> wire::Result<()> {
        let Self { cluster, group, backoff, .. } = self;
        if group.as_ref().is_none_or(|seat| seat.key != request.group) {
            *group = Some(Seat::new(CoordinatorKind::Group, request.group));
        }
        let Some(seat) = group else { return Ok(()) };
        let ask = |connection: &mut Connection, deadline| request.call(connection, deadline);
        seat.ask(cluster, *backoff, deadline, ask)
    }
}

impl Seat {
    fn new(kind: CoordinatorKind, key: &str) -> Self {
        Self { kind, key: key.to_owned(), connection: None }
    }

    /// Asks until there is an answer that does not pass, or until the deadline.
    fn ask<T>(
        &mut self,
        cluster: &Cluster,
        backoff: Duration,
        deadline: Instant,
        question: impl Fn(&mut Connection, Instant) -> wire::Result<T>,
    ) -> wire::Result<T> {
        let mut pause = backoff;
        loop {
            let attempt = deadline.min(Instant::now() + ATTEMPT);
            let asked = self.connection(cluster, attempt);
            let error = match asked.and_then(|connection| question(connection, attempt)) {
                Err(WireError::Refused(code)) if code.is_passing() => {
                    if code.is_of_another_broker() {
                        self.connection = None;
                        cluster.ask_another();
                    }
                    WireError::Refused(code)
                }
                Err(error @ (WireError::Connection(_) | WireError::Malformed(_))) => {
                    self.connection = None;
                    error
                }
                Err(error @ WireError::TooLarge(_)) => {
                    self.connection = None;
                    return Err(error);
                }
                answered => return answered,
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    fn connection(
        &mut self,
        cluster: &Cluster,
        deadline: Instant,
    ) -> wire::Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let question = Coordinator { kind: self.kind, key: &self.key };
                let address = cluster.ask(deadline, |asked, at| question.call(asked, at))?;
                cluster.connect(&address, deadline)?
            }
        };
        Ok(self.connection.insert(connection))
    }
}

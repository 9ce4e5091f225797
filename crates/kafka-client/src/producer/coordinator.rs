//! The requests that begin and end transactions.
//!
//! All of them may be repeated: the coordinator knows the epoch of each transaction, and answers a
//! repeated request as it did the first one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{ATTEMPT, KafkaCluster};
use crate::connection::{Connection, RequestError, Result};
use crate::requests::{
    CoordinatorType, EndTxn, FindCoordinator, InitProducerId, ProducerIdAndEpoch, TxnOffsetCommit,
};

/// The coordinators that a producer talks to.
pub(super) struct Coordinators {
    cluster: Arc<KafkaCluster>,
    transactions: CoordinatorConnection,
    group: Option<CoordinatorConnection>,
    backoff: Duration,
}

/// The coordinator of a group or of a transactional id, as far as it is known.
struct CoordinatorConnection {
    coordinator_type: CoordinatorType,
    key: String,
    connection: Option<Connection>,
}

/// Between attempts, at most.
const BACKOFF_MAX: Duration = Duration::from_millis(50);

impl Coordinators {
    pub(super) fn new(
        cluster: Arc<KafkaCluster>,
        transactional_id: &str,
        backoff: Duration,
    ) -> Self {
        let transactions =
            CoordinatorConnection::new(CoordinatorType::Transaction, transactional_id);
        Self { cluster, transactions, group: None, backoff }
    }

    /// Fences older producers and ends their transactions.
    pub(super) fn init(
        &mut self,
        transaction_timeout: Duration,
        deadline: Instant,
    ) -> Result<ProducerIdAndEpoch> {
        let Self { cluster, transactions, backoff, .. } = self;
        let transactional_id = transactions.key.clone();
        let request =
            InitProducerId { transactional_id: &transactional_id, timeout: transaction_timeout };
        let call = |connection: &mut Connection, deadline| request.call(connection, deadline);
        transactions.call(cluster, *backoff, deadline, call)
    }

    /// Ends a transaction; returns who the producer is in the next one.
    pub(super) fn end(
        &mut self,
        producer: ProducerIdAndEpoch,
        commits: bool,
        deadline: Instant,
    ) -> Result<ProducerIdAndEpoch> {
        let Self { cluster, transactions, backoff, .. } = self;
        let transactional_id = transactions.key.clone();
        let request = EndTxn { transactional_id: &transactional_id, producer, commits };
        let call = |connection: &mut Connection, deadline| request.call(connection, deadline);
        transactions.call(cluster, *backoff, deadline, call)
    }

    /// Adds offsets to the transaction.
    pub(super) fn add_offsets(
        &mut self,
        request: &TxnOffsetCommit<'_>,
        deadline: Instant,
    ) -> Result<()> {
        let Self { cluster, group, backoff, .. } = self;
        if group.as_ref().is_none_or(|coordinator| coordinator.key != request.group_id) {
            *group = Some(CoordinatorConnection::new(CoordinatorType::Group, request.group_id));
        }
        let Some(coordinator) = group else { return Ok(()) };
        let call = |connection: &mut Connection, deadline| request.call(connection, deadline);
        coordinator.call(cluster, *backoff, deadline, call)
    }
}

impl CoordinatorConnection {
    fn new(coordinator_type: CoordinatorType, key: &str) -> Self {
        Self { coordinator_type, key: key.to_owned(), connection: None }
    }

    /// Repeats the request until it is done, or refused for good, or the deadline is over.
    fn call<T>(
        &mut self,
        cluster: &KafkaCluster,
        backoff: Duration,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<T>,
    ) -> Result<T> {
        let mut pause = backoff;
        loop {
            let attempt = deadline.min(Instant::now() + ATTEMPT);
            let opened = self.connection(cluster, attempt);
            let error = match opened.and_then(|connection| request(connection, attempt)) {
                Err(RequestError::Refused(code)) if code.is_retriable() => {
                    if code.is_stale_leader() {
                        self.connection = None;
                        cluster.avoid_current();
                    }
                    RequestError::Refused(code)
                }
                Err(error @ (RequestError::Connection(_) | RequestError::Malformed(_))) => {
                    self.connection = None;
                    error
                }
                Err(error @ RequestError::Throttled(_)) => error,
                Err(error) if !error.keeps_connection() => {
                    self.connection = None;
                    return Err(error);
                }
                done => return done,
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    fn connection(&mut self, cluster: &KafkaCluster, deadline: Instant) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let coordinator_type = self.coordinator_type;
                let request = FindCoordinator { coordinator_type, key: &self.key };
                let find = |connection: &mut Connection, at| request.call(connection, at);
                let address = cluster.call_any(deadline, find)?;
                cluster.connect(&address, deadline)?
            }
        };
        Ok(self.connection.insert(connection))
    }
}

//! A proxy between a client and a real Kafka broker. It understands just enough of the protocol to
//! lose, delay, hold or cut off single requests by their kind.
//!
//! It listens on loopback, in front of one broker on loopback. It replaces the broker's address in
//! responses with its own, so that clients come back to it.
//!
//! By its [`ProxyProfile`] it passes for another cluster: one that is far away, or one that speaks
//! only the versions that Redpanda does.

mod answer;
mod connection;
mod profile;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lock::lock;
use connection::HeldRequest;

pub use profile::ProxyProfile;

/// Kinds of requests, by their numbers in Kafka's protocol.
pub mod api {
    /// Records are produced.
    pub const PRODUCE: i16 = 0;
    /// Records are fetched.
    pub const FETCH: i16 = 1;
    /// The start and end of a partition.
    pub const LIST_OFFSETS: i16 = 2;
    /// Topics and brokers.
    pub const METADATA: i16 = 3;
    /// Offsets are committed outside of transactions.
    pub const OFFSET_COMMIT: i16 = 8;
    /// Committed offsets.
    pub const OFFSET_FETCH: i16 = 9;
    /// The coordinator of a group or a transaction.
    pub const FIND_COORDINATOR: i16 = 10;
    /// A member joins.
    pub const JOIN_GROUP: i16 = 11;
    /// A member sends a heartbeat.
    pub const HEARTBEAT: i16 = 12;
    /// A member leaves.
    pub const LEAVE_GROUP: i16 = 13;
    /// A member gets its partitions.
    pub const SYNC_GROUP: i16 = 14;
    /// Groups and their members.
    pub const DESCRIBE_GROUPS: i16 = 15;
    /// The groups that there are.
    pub const LIST_GROUPS: i16 = 16;
    /// The mechanism of a login.
    pub const SASL_HANDSHAKE: i16 = 17;
    /// The versions and features that the broker knows.
    pub const API_VERSIONS: i16 = 18;
    /// Topics are created.
    pub const CREATE_TOPICS: i16 = 19;
    /// Topics are deleted.
    pub const DELETE_TOPICS: i16 = 20;
    /// Records are deleted up to an offset.
    pub const DELETE_RECORDS: i16 = 21;
    /// A producer gets its id and epoch.
    pub const INIT_PRODUCER_ID: i16 = 22;
    /// Where a leader epoch ended.
    pub const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
    /// Partitions join a transaction.
    pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
    /// A group's offsets join a transaction.
    pub const ADD_OFFSETS_TO_TXN: i16 = 25;
    /// A transaction is committed or aborted.
    pub const END_TXN: i16 = 26;
    /// Offsets are written in a transaction.
    pub const TXN_OFFSET_COMMIT: i16 = 28;
    /// Settings of topics and brokers.
    pub const DESCRIBE_CONFIGS: i16 = 32;
    /// Settings are replaced.
    pub const ALTER_CONFIGS: i16 = 33;
    /// The messages of a login.
    pub const SASL_AUTHENTICATE: i16 = 36;
    /// A topic gets more partitions.
    pub const CREATE_PARTITIONS: i16 = 37;
    /// Groups are deleted.
    pub const DELETE_GROUPS: i16 = 42;
    /// Settings are changed.
    pub const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
    /// Committed offsets are deleted.
    pub const OFFSET_DELETE: i16 = 47;
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wire {
    /// It does not arrive, without an error.
    Lost,
    /// It arrives; its response does not.
    AnswerLost,
    /// It arrives after this delay, with everything after it on its connection.
    Delayed(Duration),
    /// It is held until [`KafkaProxy::release`].
    Held,
    /// Its connection is cut, and it does not arrive.
    Cut,
    /// It arrives, and then its connection is cut.
    CutAfter,
    /// It does not arrive, and the response is this error code of Kafka's protocol. For heartbeats,
    /// and for transaction requests whose response has a single error.
    Refused(i16),
}

/// Error codes of Kafka's protocol.
pub mod error {
    /// Something unexpected happened.
    pub const UNKNOWN_SERVER_ERROR: i16 = -1;
    /// COORDINATOR_LOAD_IN_PROGRESS: the coordinator is still loading.
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    /// COORDINATOR_NOT_AVAILABLE: there is no coordinator at the moment.
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    /// NOT_COORDINATOR: another broker is the coordinator.
    pub const NOT_COORDINATOR: i16 = 16;
    /// UNKNOWN_MEMBER_ID: the group does not know the member.
    pub const UNKNOWN_MEMBER_ID: i16 = 25;
    /// The group rebalances.
    pub const REBALANCE_IN_PROGRESS: i16 = 27;
    /// A newer producer has the identity, or the transaction ended by itself.
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    /// The previous transaction is still ending.
    pub const CONCURRENT_TRANSACTIONS: i16 = 51;
    /// A newer producer has the identity.
    pub const PRODUCER_FENCED: i16 = 90;
}

/// The proxy. It stops when it is dropped.
pub struct KafkaProxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
}

pub(super) struct ProxyState {
    broker: SocketAddr,
    port: u16,
    profile: ProxyProfile,
    unspoken: Mutex<BTreeSet<(i16, i16)>>,
    planned: Mutex<Vec<(i16, Wire)>>,
    fired: Mutex<BTreeMap<(i16, Wire), u64>>,
    late: Mutex<Vec<HeldRequest>>,
    ended: AtomicBool,
}

impl KafkaProxy {
    /// Listens on a free port of loopback, in front of the broker at `broker` (`127.0.0.1:port`).
    ///
    /// # Errors
    /// The address is invalid, or no port is free.
    pub fn start(broker: &str) -> io::Result<Self> {
        Self::start_as(broker, ProxyProfile::default())
    }

    /// The same, passing for another cluster.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_as(broker: &str, profile: ProxyProfile) -> io::Result<Self> {
        let broker = broker.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{broker} is no ip:port"))
        })?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ProxyState {
            broker,
            port: address.port(),
            profile,
            unspoken: Mutex::default(),
            planned: Mutex::default(),
            fired: Mutex::default(),
            late: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::Acquire) {
                    return;
                }
                // An unavailable broker shows as a connection that closes.
                let Ok(client) = client else { continue };
                let _ = connection::serve(&client, &accepting);
            }
        });
        Ok(Self { address, shared })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this to the next request of this kind.
    pub fn next(&self, api: i16, wire: Wire) {
        lock(&self.shared.planned).push((api, wire));
    }

    /// How often this happened to requests of this kind.
    pub fn fired(&self, api: i16, wire: Wire) -> u64 {
        lock(&self.shared.fired).get(&(api, wire)).copied().unwrap_or(0)
    }

    /// The kinds and versions of requests that the profile does not speak, and that came all the
    /// same. Their connections were closed, as a broker does.
    pub fn unspoken(&self) -> Vec<(i16, i16)> {
        lock(&self.shared.unspoken).iter().copied().collect()
    }

    /// Lets held requests arrive; returns how many there were.
    pub fn release(&self) -> usize {
        let late = std::mem::take(&mut *lock(&self.shared.late));
        let count = late.len();
        late.into_iter().for_each(HeldRequest::arrive);
        count
    }
}

impl Drop for KafkaProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl ProxyState {
    /// What happens to the next request of a kind.
    fn take(&self, api: i16) -> Option<Wire> {
        let mut planned = lock(&self.planned);
        let index = planned.iter().position(|(of, _)| *of == api)?;
        let (_, wire) = planned.remove(index);
        *lock(&self.fired).entry((api, wire)).or_default() += 1;
        Some(wire)
    }
}

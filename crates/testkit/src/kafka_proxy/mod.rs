//! A proxy between a client and a real Kafka broker that understands just enough of the protocol to
//! lose, delay, hold back or cut off single requests by their kind.
//!
//! It listens on loopback and has one broker behind it, on loopback too: addresses in the broker's
//! answers are replaced by its own, so that clients come back to it.

mod answer;
mod connection;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lock::lock;
use connection::HeldRequest;

/// Kinds of requests, by their numbers in Kafka's protocol.
pub mod api {
    /// Records are produced.
    pub const PRODUCE: i16 = 0;
    /// Records are fetched.
    pub const FETCH: i16 = 1;
    /// Where a partition begins and ends.
    pub const LIST_OFFSETS: i16 = 2;
    /// Topics and brokers.
    pub const METADATA: i16 = 3;
    /// Committed offsets.
    pub const OFFSET_FETCH: i16 = 9;
    /// Who coordinates a group or a transaction.
    pub const FIND_COORDINATOR: i16 = 10;
    /// A member joins.
    pub const JOIN_GROUP: i16 = 11;
    /// A member is alive.
    pub const HEARTBEAT: i16 = 12;
    /// A member gets its partitions.
    pub const SYNC_GROUP: i16 = 14;
    /// A producer gets its id and epoch.
    pub const INIT_PRODUCER_ID: i16 = 22;
    /// Partitions join a transaction.
    pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
    /// A group's offsets join a transaction.
    pub const ADD_OFFSETS_TO_TXN: i16 = 25;
    /// A transaction is committed or aborted.
    pub const END_TXN: i16 = 26;
    /// Offsets are written in a transaction.
    pub const TXN_OFFSET_COMMIT: i16 = 28;
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wire {
    /// It does not arrive, and nobody says so.
    Lost,
    /// It arrives; its answer does not.
    AnswerLost,
    /// It arrives so much later, with all behind it on its connection.
    Delayed(Duration),
    /// It is under way until [`KafkaProxy::release`].
    Held,
    /// Its connection is cut, and it does not arrive.
    Cut,
    /// It arrives, and then its connection is cut.
    CutBehind,
    /// It does not arrive, and is answered with this error code of Kafka's protocol: for
    /// heartbeats, and for requests of transactions whose answers have one error for all.
    Refused(i16),
}

/// Error codes of Kafka's protocol.
pub mod error {
    /// Something unexpected happened.
    pub const UNKNOWN_SERVER_ERROR: i16 = -1;
    /// The coordinator is still loading.
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    /// There is no coordinator just now.
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    /// Somebody else is the coordinator.
    pub const NOT_COORDINATOR: i16 = 16;
    /// The group does not know the member.
    pub const UNKNOWN_MEMBER_ID: i16 = 25;
    /// The group rebalances.
    pub const REBALANCE_IN_PROGRESS: i16 = 27;
    /// A newer producer has the identity, or the transaction ended by itself.
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    /// The transaction before is still being ended.
    pub const CONCURRENT_TRANSACTIONS: i16 = 51;
    /// A newer producer has the identity.
    pub const PRODUCER_FENCED: i16 = 90;
}

/// The proxy; it ends when it is dropped.
pub struct KafkaProxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
}

pub(super) struct ProxyState {
    broker: SocketAddr,
    port: u16,
    planned: Mutex<Vec<(i16, Wire)>>,
    fired: Mutex<BTreeMap<(i16, Wire), u64>>,
    late: Mutex<Vec<HeldRequest>>,
    ended: AtomicBool,
}

impl KafkaProxy {
    /// Listens on a free port of loopback, in front of the broker at `broker` (`127.0.0.1:port`).
    ///
    /// # Errors
    /// An address that is none, or no port to listen on.
    pub fn start(broker: &str) -> io::Result<Self> {
        let broker = broker.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{broker} is no ip:port"))
        })?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ProxyState {
            broker,
            port: address.port(),
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
                // A broker that is away shows as a connection that ends.
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

    /// The next request of this kind meets this.
    pub fn next(&self, api: i16, wire: Wire) {
        lock(&self.shared.planned).push((api, wire));
    }

    /// How often this has happened to requests of this kind.
    pub fn fired(&self, api: i16, wire: Wire) -> u64 {
        lock(&self.shared.fired).get(&(api, wire)).copied().unwrap_or(0)
    }

    /// Lets the requests arrive that were held, and tells how many there were.
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
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl ProxyState {
    /// What the next request of a kind meets.
    fn take(&self, api: i16) -> Option<Wire> {
        let mut planned = lock(&self.planned);
        let index = planned.iter().position(|(of, _)| *of == api)?;
        let (_, wire) = planned.remove(index);
        *lock(&self.fired).entry((api, wire)).or_default() += 1;
        Some(wire)
    }
}

//! Brokers, and the connections to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::{Connection, RequestError, Result, TlsConfigs};
use crate::error::{self, KafkaClientError};
use crate::protocol::ErrorCode;
use crate::requests::{BrokerFeatures, MetadataRequest, MetadataTopic};
use crate::settings::ConnectionSettings;

/// The clusters that a process talks to. Clones are the same.
#[derive(Clone, Default)]
pub struct KafkaClusters(Arc<Mutex<Vec<Arc<KafkaCluster>>>>);

/// The brokers that are known, and a connection for general requests to any of them.
pub struct KafkaCluster {
    settings: ConnectionSettings,
    tls: TlsConfigs,
    known: Mutex<KnownBrokers>,
}

#[derive(Default)]
struct KnownBrokers {
    /// Addresses by the brokers' ids.
    addresses: BTreeMap<i32, String>,
    general: Option<GeneralConnection>,
    /// The address of the last general connection.
    general_address: String,
    /// General connections from before this are not used again.
    avoided_at: Option<Instant>,
    /// A connection was opened at some time: the security settings are right.
    was_reached: bool,
    /// Which broker comes next, after one that does not answer.
    turn: usize,
}

/// A connection for requests that any broker can answer.
struct GeneralConnection {
    connection: Connection,
    since: Instant,
}

/// How long one attempt may take; then another broker is asked.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(3);

/// How long a general connection is kept at least, however often another one is asked for.
const AVOID_PAUSE: Duration = Duration::from_secs(1);

/// A topic that metadata lacks for this long does not exist: brokers hear of new ones one after
/// another.
pub(crate) const MISSING: Duration = Duration::from_secs(5);

/// For how long connections may be cut off at their first requests until that is an error.
const CUTS: Duration = Duration::from_secs(3);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl KafkaClusters {
    /// The cluster that is reached like this.
    pub fn get(&self, settings: &ConnectionSettings) -> Arc<KafkaCluster> {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters.iter().find(|cluster| cluster.settings == *settings) {
            return Arc::clone(cluster);
        }
        let settings = settings.clone();
        let known = Mutex::default();
        let new = Arc::new(KafkaCluster { settings, tls: TlsConfigs::default(), known });
        clusters.push(Arc::clone(&new));
        new
    }
}

impl KafkaCluster {
    /// The cluster's level of transactions, as a new connection is told: 2 and above are those of
    /// KIP-890, which [`TransactionalProducer`](crate::TransactionalProducer) needs. Waits for a
    /// broker, at most for `timeout`.
    ///
    /// # Errors
    /// No broker answers, or none accepts this client.
    pub fn transaction_version(
        &self,
        timeout: Duration,
    ) -> std::result::Result<i16, KafkaClientError> {
        let features = self.features(Instant::now() + timeout);
        let features =
            features.map_err(|error| error::plain("asking for the cluster's features", error))?;
        Ok(features.transaction_version)
    }

    /// Whether brokers accept this client. Returns at once if one has done so before.
    ///
    /// # Errors
    /// Of class [`Refused`](crate::ErrorClass::Refused) if they refuse it for good, and the error
    /// says why: a wrong password, a certificate that has expired, another protocol.
    pub fn check_admission(&self, timeout: Duration) -> std::result::Result<(), KafkaClientError> {
        if self.known().was_reached {
            return Ok(());
        }
        let deadline = Instant::now() + timeout;
        // A request that needs authentication.
        let topics = self.topics(&[], deadline);
        topics.map(drop).map_err(|error| error::plain("connecting to the cluster", error))
    }

    fn features(&self, deadline: Instant) -> Result<BrokerFeatures> {
        self.known().general = None;
        self.call_any(deadline, |connection, _| Ok(connection.features()))
    }

    /// Opens a connection to a broker that metadata named.
    pub(crate) fn broker(&self, id: i32, deadline: Instant) -> Result<Connection> {
        let address = self.known().addresses.get(&id).cloned();
        self.connect(&address.ok_or(ErrorCode::BROKER_NOT_AVAILABLE)?, deadline)
    }

    pub(crate) fn connect(&self, address: &str, deadline: Instant) -> Result<Connection> {
        let timeout = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT);
        Connection::open(address, &self.settings, &self.tls, timeout)
    }

    /// Looks topics up. A topic that does not exist is not created by that: its code says so.
    pub(crate) fn topics(
        &self,
        names: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Vec<MetadataTopic>> {
        let found = self.call_any(deadline, |connection, deadline| {
            MetadataRequest { topics: names }.call(connection, deadline)
        })?;
        if !found.brokers.is_empty() {
            self.known().addresses = found.brokers;
        }
        Ok(found.topics)
    }

    /// Lets another broker answer the next general requests, if there is one. A broker that is cut
    /// off from the others goes on telling how things were.
    pub(crate) fn avoid_current(&self) {
        let mut known = self.known();
        let now = Instant::now();
        let is_new = |since: &Instant| now.saturating_duration_since(*since) < AVOID_PAUSE;
        if !known.avoided_at.as_ref().is_some_and(is_new) {
            known.avoided_at = Some(now);
            known.general = None;
        }
    }

    /// The id of some broker, for partitions whose leader is not known.
    pub(crate) fn any(&self) -> Option<i32> {
        self.known().addresses.keys().next().copied()
    }

    /// Sends a request to any broker, and to another one after each that does not answer.
    pub(crate) fn call_any<T>(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<T>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            let result = self.call_once(deadline.min(Instant::now() + ATTEMPT), &request);
            match result {
                // Before the first success that is a wrong setting, and afterwards an outage.
                Err(RequestError::HandshakeCut(why))
                    if began.elapsed() >= CUTS && !self.known().was_reached =>
                {
                    return Err(RequestError::Security(why));
                }
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) if Instant::now() + PAUSE >= deadline => return Err(error),
                Err(_) => thread::sleep(PAUSE),
                done => return done,
            }
        }
    }

    /// The connection is taken out while it is in use, so that no caller waits for the response to
    /// another one's request.
    fn call_once<T>(
        &self,
        deadline: Instant,
        request: impl Fn(&mut Connection, Instant) -> Result<T>,
    ) -> Result<T> {
        let kept = self.known().general.take();
        let mut general = match kept {
            Some(general) => general,
            None => {
                let since = Instant::now();
                let connection = self.connect(&self.next_address(), deadline)?;
                GeneralConnection { connection, since }
            }
        };
        let result = request(&mut general.connection, deadline);
        if result.as_ref().err().is_none_or(RequestError::keeps_connection) {
            let mut known = self.known();
            known.was_reached |= result.is_ok();
            if known.avoided_at.is_none_or(|since| since <= general.since) {
                known.general = Some(general);
            }
        }
        result
    }

    fn next_address(&self) -> String {
        let mut known = self.known();
        known.turn = known.turn.wrapping_add(1);
        let bootstrap = &self.settings.bootstrap_servers;
        let all: Vec<_> = known.addresses.values().chain(bootstrap).cloned().collect();
        let in_turn = || all.iter().cycle().skip(known.turn % all.len().max(1)).take(all.len());
        let another = in_turn().find(|address| **address != known.general_address);
        let next = another.or(in_turn().next()).cloned().unwrap_or_default();
        known.general_address.clone_from(&next);
        next
    }

    fn known(&self) -> MutexGuard<'_, KnownBrokers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(bootstrap_servers: &str) -> Arc<KafkaCluster> {
        KafkaClusters::default().get(&ConnectionSettings::plain(bootstrap_servers))
    }

    #[test]
    fn another_broker_is_asked_if_there_is_one() {
        let cluster = cluster("a:1");
        cluster.known().addresses = [(1, "a:1".to_owned()), (2, "b:2".to_owned())].into();
        let mut last = cluster.next_address();
        for _ in 0..9 {
            let next = cluster.next_address();
            assert_ne!(next, last);
            last = next;
        }
        let alone = self::cluster("c:3");
        assert_eq!([alone.next_address(), alone.next_address()], ["c:3", "c:3"]);
    }
}

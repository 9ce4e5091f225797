//! Brokers, and who leads which partition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::access::Access;
use crate::wire::{self, Code, Connection, Features, FoundTopic, Metadata, WireError};

/// Shared by all clients of a transport. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Clusters(Arc<Mutex<Vec<Arc<Cluster>>>>);

/// The brokers that are known, and a connection for questions to any of them.
pub(crate) struct Cluster {
    access: Access,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Addresses by the brokers' numbers.
    brokers: BTreeMap<i32, String>,
    asking: Option<Asking>,
    /// The address that was connected to for questions last.
    asked: String,
    /// A connection from before is not for questions any more.
    another_since: Option<Instant>,
    /// Whose turn it is to be asked, after one that did not answer.
    turn: usize,
}

/// A connection for questions.
struct Asking {
    connection: Connection,
    since: Instant,
}

/// One attempt may take so long; then somebody else is asked.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(3);

/// A connection for questions is kept at least so long, however many ask for another one.
const ANOTHER: Duration = Duration::from_secs(1);

/// A topic that metadata does not know for so long is not there: brokers hear of new ones one after
/// another.
pub(crate) const MISSING: Duration = Duration::from_secs(5);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl Clusters {
    /// The one that is reached like this.
    pub(crate) fn get(&self, access: &Access) -> Arc<Cluster> {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters.iter().find(|cluster| cluster.access == *access) {
            return Arc::clone(cluster);
        }
        let new = Arc::new(Cluster { access: access.clone(), known: Mutex::default() });
        clusters.push(Arc::clone(&new));
        new
    }
}

impl Cluster {
    /// What the cluster can do, as a new connection is told.
    pub(crate) fn features(&self, deadline: Instant) -> wire::Result<Features> {
        self.known().asking = None;
        self.ask(deadline, |connection, _| Ok(connection.features()))
    }

    /// Opens a connection to a broker that metadata named.
    pub(crate) fn broker(&self, number: i32, deadline: Instant) -> wire::Result<Connection> {
        let address = self.known().brokers.get(&number).cloned();
        self.connect(&address.ok_or(Code::BROKER_NOT_AVAILABLE)?, deadline)
    }

    pub(crate) fn connect(&self, address: &str, deadline: Instant) -> wire::Result<Connection> {
        let timeout = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT);
        Connection::open(address, &self.access.client, self.access.login.as_ref(), timeout)
    }

    /// Looks topics up. A topic that does not exist is not created by that: its code says so.
    pub(crate) fn topics(
        &self,
        names: &[Arc<str>],
        deadline: Instant,
    ) -> wire::Result<Vec<FoundTopic>> {
        let found = self.ask(deadline, |connection, deadline| {
            if !connection.features().can_be_read() {
                return Err(Code::UNSUPPORTED_VERSION.into());
            }
            Metadata { topics: names }.call(connection, deadline)
        })?;
        if !found.brokers.is_empty() {
            self.known().brokers = found.brokers;
        }
        Ok(found.topics)
    }

    /// Lets another broker answer the next questions, if there is one: one that is cut off from the
    /// others goes on telling how things were.
    pub(crate) fn ask_another(&self) {
        let (mut known, now) = (self.known(), Instant::now());
        let is_new = |since: &Instant| now.saturating_duration_since(*since) < ANOTHER;
        if !known.another_since.as_ref().is_some_and(is_new) {
            known.another_since = Some(now);
            known.asking = None;
        }
    }

    /// Some broker's number, for partitions whose leader is not known.
    pub(crate) fn any(&self) -> Option<i32> {
        self.known().brokers.keys().next().copied()
    }

    /// Asks any broker, another one after each that does not answer.
    pub(crate) fn ask<T>(
        &self,
        deadline: Instant,
        question: impl Fn(&mut Connection, Instant) -> wire::Result<T>,
    ) -> wire::Result<T> {
        loop {
            let result = self.asked_once(deadline.min(Instant::now() + ATTEMPT), &question);
            match result {
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) if Instant::now() + PAUSE >= deadline => return Err(error),
                Err(_) => thread::sleep(PAUSE),
                answered => return answered,
            }
        }
    }

    /// The connection is taken while it is in use: nobody waits for somebody else's answer.
    fn asked_once<T>(
        &self,
        deadline: Instant,
        question: impl Fn(&mut Connection, Instant) -> wire::Result<T>,
    ) -> wire::Result<T> {
        let kept = self.known().asking.take();
        let mut asking = match kept {
            Some(asking) => asking,
            None => {
                let since = Instant::now();
                Asking { connection: self.connect(&self.next_address(), deadline)?, since }
            }
        };
        let result = question(&mut asking.connection, deadline);
        if matches!(result, Ok(_) | Err(WireError::Refused(_))) {
            let mut known = self.known();
            if known.another_since.is_none_or(|since| since <= asking.since) {
                known.asking = Some(asking);
            }
        }
        result
    }

    fn next_address(&self) -> String {
        let mut known = self.known();
        known.turn = known.turn.wrapping_add(1);
        let all: Vec<_> = known.brokers.values().chain(&self.access.bootstrap).cloned().collect();
        let in_turn = || all.iter().cycle().skip(known.turn % all.len().max(1)).take(all.len());
        let another = in_turn().find(|address| **address != known.asked);
        let next = another.or(in_turn().next()).cloned().unwrap_or_default();
        known.asked.clone_from(&next);
        next
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KafkaConfig;

    fn cluster(bootstrap: &str) -> Arc<Cluster> {
        let (kafka, none) = (KafkaConfig::new(bootstrap).expect("brokers"), BTreeMap::new());
        Clusters::default().get(&Access::new(&kafka, &none).expect("known"))
    }

    #[test]
    fn another_broker_is_asked_if_there_is_one() {
        let cluster = cluster("a:1");
        cluster.known().brokers = [(1, "a:1".to_owned()), (2, "b:2".to_owned())].into();
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

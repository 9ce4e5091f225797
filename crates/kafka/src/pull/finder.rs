//! The thread that finds out who leads a partition.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, Result, TransportError};

use super::intake::{Asks, SharedIntake};
use super::partition::{FINDER, Hand};
use super::puller::{Puller, too_large};
use super::state::{Ask, Came, Number};
use crate::cluster::{ATTEMPT, Cluster};
use crate::wire::{Code, FoundTopic, WireError};

/// The threads that fetch, made when a partition is found to be led by a broker.
pub(super) struct Pullers {
    intake: SharedIntake,
    cluster: Arc<Cluster>,
    running: Mutex<BTreeSet<Hand>>,
}

/// A topic or a leader that is not there for so long is missing.
const MISSING: Duration = Duration::from_secs(5);

impl Pullers {
    /// Starts the finder, and through it all others. They end when the intake is closed.
    pub(super) fn start(intake: &SharedIntake, cluster: &Arc<Cluster>) -> Result<()> {
        let (intake, cluster) = (Arc::clone(intake), Arc::clone(cluster));
        let pullers = Self { intake, cluster, running: Mutex::default() };
        spawn("headwater-find".to_owned(), move || pullers.find())
    }

    fn find(&self) {
        while let Some(Asks { asks, .. }) = self.intake.take(FINDER) {
            let mut names: Vec<_> = asks.iter().map(|ask| Arc::clone(&ask.place.topic)).collect();
            names.sort_unstable();
            names.dedup();
            let found = self.cluster.topics(&names, Instant::now() + ATTEMPT);
            let settled = asks.into_iter().map(|ask| match &found {
                Ok(topics) => (ask.number, self.leader(topics, &ask)),
                Err(WireError::Refused(code)) if !code.is_passing_in_reading() => {
                    (ask.number, refused(&ask, *code))
                }
                Err(error @ WireError::TooLarge(_)) => (ask.number, too_large(&ask, error)),
                Err(error) => {
                    tracing::debug!(target: "headwater::kafka", %error, "looking for leaders");
                    (ask.number, Came::Again)
                }
            });
            let settled: Vec<(Number, Came)> = settled.collect();
            self.intake.settle(settled);
        }
    }

    fn leader(&self, topics: &[FoundTopic], ask: &Ask) -> Came {
        let topic = topics.iter().find(|topic| topic.name == ask.place.topic);
        let code = topic.map_or(Code::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.code);
        let number = usize::try_from(ask.place.partition).ok();
        let leader = topic.and_then(|topic| topic.leaders.get(number?));
        let kind = match (code, leader) {
            (Code::NONE, Some(leader)) if *leader >= 0 => return self.lead(*leader),
            (Code::NONE, Some(_)) => return Came::Again,
            (Code::NONE, None) | (Code::UNKNOWN_TOPIC_OR_PARTITION, _) => ErrorKind::NotFound,
            (code, _) if code.is_passing_in_reading() => return Came::Again,
            _ => ErrorKind::Refused,
        };
        let is_new = ask.troubled_since.is_none_or(|since| since.elapsed() < MISSING);
        if kind == ErrorKind::NotFound && is_new {
            return Came::Again;
        }
        let why =
            if code == Code::NONE { "there is no such partition".into() } else { code.to_string() };
        Came::Failed(TransportError::new(kind, format!("fetching {}", ask.place), why))
    }

    fn lead(&self, broker: Hand) -> Came {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.contains(&broker) {
            let mut puller = Puller::new(broker, &self.intake, &self.cluster);
            if let Err(error) = spawn(format!("headwater-pull-{broker}"), move || puller.run()) {
                return Came::Failed(error);
            }
            running.insert(broker);
        }
        Came::Leader(broker)
    }
}

fn refused(ask: &Ask, code: Code) -> Came {
    let why = match code {
        Code::UNSUPPORTED_VERSION => {
            "brokers before 2.7 are librdkafka's alone: any of its consumer's properties makes it \
             read, check.crcs = true for example"
                .to_owned()
        }
        code => code.to_string(),
    };
    let context = format!("fetching {}", ask.place);
    Came::Failed(TransportError::new(ErrorKind::Refused, context, why))
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = thread::Builder::new().name(name).spawn(work);
    spawned.map(drop).map_err(|error| {
        TransportError::new(ErrorKind::Fatal, "starting a thread that fetches", error)
    })
}

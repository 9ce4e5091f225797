//! The thread that finds out who leads a partition.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, Result, TransportError};
use streams_core::TopicPartition;

use super::intake::{Asks, SharedIntake};
use super::partition::{FINDER, Hand};
use super::puller::{Puller, too_large};
use super::state::{Ask, Came, Number};
use crate::cluster::{ATTEMPT, Cluster, MISSING};
use crate::threads;
use crate::wire::{self, Code, FoundTopic, Leader, WireError};

/// The threads that fetch, made when a partition is found to be led by a broker.
pub(super) struct Pullers {
    intake: SharedIntake,
    cluster: Arc<Cluster>,
    running: Mutex<BTreeSet<Hand>>,
}

/// So often leaders are looked up again although nothing is wrong: a leader that is cut off from
/// the other brokers answers on, but nothing comes to it any more.
const REFRESH: Duration = Duration::from_secs(30);

impl Pullers {
    /// Starts the finder, and through it all others. They end when the intake is closed.
    pub(super) fn start(intake: &SharedIntake, cluster: &Arc<Cluster>) -> Result<()> {
        let (intake, cluster) = (Arc::clone(intake), Arc::clone(cluster));
        let pullers = Self { intake, cluster, running: Mutex::default() };
        let broken = Arc::clone(&pullers.intake);
        let failed = move |why| broken.break_off(why);
        threads::spawn("headwater-find".to_owned(), move || pullers.find(), failed)
    }

    fn find(&self) {
        let mut refresh_at = Instant::now() + REFRESH;
        while let Some(Asks { asks, .. }) = self.intake.take(FINDER, Some(refresh_at)) {
            if Instant::now() >= refresh_at {
                self.refresh();
                refresh_at = Instant::now() + REFRESH;
            }
            if asks.is_empty() {
                continue;
            }
            if asks.iter().any(|ask| ask.troubled_since.is_some()) {
                self.cluster.ask_another();
            }
            let found = self.topics(asks.iter().map(|ask| &ask.place));
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

    fn topics<'a>(
        &self,
        places: impl Iterator<Item = &'a TopicPartition>,
    ) -> wire::Result<Vec<FoundTopic>> {
        let mut names: Vec<_> = places.map(|place| Arc::clone(&place.topic)).collect();
        names.sort_unstable();
        names.dedup();
        self.cluster.topics(&names, Instant::now() + ATTEMPT)
    }

    /// Hands partitions over whose leader has changed.
    fn refresh(&self) {
        let led = self.intake.led();
        if led.is_empty() {
            return;
        }
        self.cluster.ask_another();
        let topics = match self.topics(led.iter().map(|(_, place)| place)) {
            Ok(topics) => topics,
            Err(error) => {
                tracing::debug!(target: "headwater::kafka", %error, "looking for leaders again");
                return;
            }
        };
        let leaders = led.into_iter().filter_map(|(number, place)| {
            let leader = find(&topics, &place)?.1?;
            let is_there = leader.broker >= 0 && self.start_puller(leader.broker).is_ok();
            is_there.then_some((number, leader))
        });
        let leaders: Vec<_> = leaders.collect();
        self.intake.follow(leaders);
    }

    fn leader(&self, topics: &[FoundTopic], ask: &Ask) -> Came {
        let unknown = (Code::UNKNOWN_TOPIC_OR_PARTITION, None);
        let (code, leader) = find(topics, &ask.place).unwrap_or(unknown);
        let kind = match (code, leader) {
            (Code::NONE, Some(leader)) if leader.broker >= 0 => {
                let started = self.start_puller(leader.broker);
                return started.map_or_else(Came::Failed, |()| Came::Leader(leader));
            }
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

    /// Sees to it that there is somebody who fetches from `broker`.
    fn start_puller(&self, broker: Hand) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.contains(&broker) {
            let mut puller = Puller::new(broker, &self.intake, &self.cluster);
            let broken = Arc::clone(&self.intake);
            let (name, failed) =
                (format!("headwater-pull-{broker}"), move |why| broken.break_off(why));
            threads::spawn(name, move || puller.run(), failed)?;
            running.insert(broker);
        }
        Ok(())
    }
}

/// What is said of a partition's topic, and of its leader; `None` if nothing is.
fn find(topics: &[FoundTopic], place: &TopicPartition) -> Option<(Code, Option<Leader>)> {
    let topic = topics.iter().find(|topic| topic.name == place.topic)?;
    let number = usize::try_from(place.partition).ok();
    Some((topic.code, number.and_then(|number| topic.leaders.get(number).copied())))
}

fn refused(ask: &Ask, code: Code) -> Came {
    let why = match code {
        Code::UNSUPPORTED_VERSION => {
            "brokers before 2.8 are librdkafka's alone: any of its consumer's properties makes it \
             read, check.crcs = true for example"
                .to_owned()
        }
        code => code.to_string(),
    };
    let context = format!("fetching {}", ask.place);
    Came::Failed(TransportError::new(ErrorKind::Refused, context, why))
}

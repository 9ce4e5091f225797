//! The thread that fetches from one broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, TransportError};
use streams_core::TopicPartition;

use super::intake::{Asks, SharedIntake};
use super::partition::Hand;
use super::state::{Ask, Came, Number};
use crate::cluster::{ATTEMPT, Cluster};
use crate::wire::{
    self, Code, Connection, Decoder, Fetch, FetchedPart, ListOffsets, Place, Spare, Wanted,
    WireError,
};

pub(super) struct Puller {
    broker: Hand,
    intake: SharedIntake,
    cluster: Arc<Cluster>,
    connection: Option<Connection>,
    spare: Arc<Spare>,
}

/// A broker that has so few bytes is not asked again at once: to answer each record by itself would
/// be most of its work, and of ours.
const LITTLE: usize = 16 << 10;

/// From question to question as long as there is little.
const PAUSE: Duration = Duration::from_millis(2);

impl Puller {
    pub(super) fn new(broker: Hand, intake: &SharedIntake, cluster: &Arc<Cluster>) -> Self {
        let (intake, cluster) = (Arc::clone(intake), Arc::clone(cluster));
        Self { broker, intake, cluster, connection: None, spare: Arc::default() }
    }

    pub(super) fn run(&mut self) {
        while let Some(asks) = self.intake.take(self.broker, None) {
            let began = Instant::now();
            let settled = self.pull(asks);
            let came = settled.iter().map(|(_, came)| came.bytes()).sum();
            self.intake.settle(settled);
            if (1..LITTLE).contains(&came) {
                thread::sleep(PAUSE.saturating_sub(began.elapsed()));
            }
        }
    }

    fn pull(&mut self, mut asks: Asks) -> Vec<(Number, Came)> {
        let deadline = Instant::now() + asks.wait + ATTEMPT;
        let mut settled = BTreeMap::new();
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.cluster.broker(self.broker, deadline),
        };
        let result = connection.and_then(|mut connection| {
            begin(&mut connection, &mut asks.asks, &mut settled, deadline)?;
            let is_right = self.fetch(&mut connection, &asks, &mut settled, deadline)?;
            self.connection = is_right.then_some(connection);
            Ok(())
        });
        let failed = result.err();
        if let Some(error) = &failed {
            tracing::debug!(target: "headwater::kafka", broker = self.broker, %error, "fetching");
        }
        let all = asks.asks.into_iter().map(|ask| {
            let came = settled.remove(&ask.number).unwrap_or_else(|| match &failed {
                Some(WireError::Refused(code)) => refused(&ask, *code),
                Some(error @ WireError::TooLarge(_)) => too_large(&ask, error),
                _ => Came::Again,
            });
            (ask.number, came)
        });
        let mut all: Vec<_> = all.collect();
        // Those that failed before they could be asked for.
        all.extend(settled);
        all
    }

    /// Says whether this may be the broker that it is taken for: addresses are given away.
    fn fetch(
        &self,
        connection: &mut Connection,
        asks: &Asks,
        settled: &mut BTreeMap<Number, Came>,
        deadline: Instant,
    ) -> wire::Result<bool> {
        let settings = &self.intake.settings;
        let wanted: Vec<_> = asks.asks.iter().filter_map(wanted).collect();
        if wanted.is_empty() {
            return Ok(true);
        }
        let mut is_right = true;
        let places: BTreeMap<_, _> =
            (asks.asks.iter()).map(|ask| ((&*ask.place.topic, ask.place.partition), ask)).collect();
        let request = Fetch {
            wanted: &wanted,
            read_committed: settings.read_committed,
            wait: asks.wait,
            bytes_max: asks.bytes,
        };
        request.call(connection, deadline, |part| {
            is_right &= !part.code.is_of_another_broker();
            if let Some(ask) = places.get(&(part.topic, part.partition)) {
                settled.insert(ask.number, self.came(ask, part, asks.decoded_bytes));
            }
        })?;
        Ok(is_right)
    }

    fn came(&self, ask: &Ask, part: FetchedPart<'_>, bytes_max: usize) -> Came {
        let FetchedPart { code, high_watermark, last_stable, mut aborted, records, .. } = part;
        match code {
            Code::NONE => {}
            code => return refused(ask, code),
        }
        let from = ask.position.unwrap_or(0);
        let read_committed = self.intake.settings.read_committed;
        let (aborted, spare) = (&mut aborted, &self.spare);
        match (Decoder { from, read_committed, aborted, bytes_max, spare }).decode(records) {
            Ok(decoded) => {
                Came::Records(decoded, if read_committed { last_stable } else { high_watermark })
            }
            Err(corrupt) => {
                let context = format!("fetching {}", ask.place);
                Came::Failed(TransportError::new(ErrorKind::Refused, context, corrupt))
            }
        }
    }
}

fn wanted(ask: &Ask) -> Option<Wanted<'_>> {
    let TopicPartition { topic, partition } = &ask.place;
    let bytes_max = ask.bytes;
    Some(Wanted { topic, partition: *partition, offset: ask.position?, bytes_max })
}

/// Finds the beginnings of partitions that are to be read from there.
fn begin(
    connection: &mut Connection,
    asks: &mut [Ask],
    settled: &mut BTreeMap<Number, Came>,
    deadline: Instant,
) -> wire::Result<()> {
    for ask in asks.iter_mut().filter(|ask| ask.position.is_none()) {
        let TopicPartition { topic, partition } = &ask.place;
        let (partition, epoch, place) = (*partition, -1, Place::Beginning);
        let question = ListOffsets { topic, partition, epoch, place };
        match question.call(connection, deadline) {
            Ok(offset) => ask.position = Some(offset),
            Err(WireError::Refused(code)) => {
                settled.insert(ask.number, refused(ask, code));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn too_large(ask: &Ask, error: &WireError) -> Came {
    let context = format!("fetching {}, or another partition of its broker", ask.place);
    Came::Failed(TransportError::new(ErrorKind::Refused, context, error.to_string()))
}

/// What an answer means that is not a good one.
fn refused(ask: &Ask, code: Code) -> Came {
    if code.is_passing_in_reading() {
        // Other codes tell of what happens to clusters; this one of what should not.
        if code == Code::UNKNOWN_SERVER_ERROR && ask.troubled_since.is_none() {
            let place = &ask.place;
            tracing::warn!(target: "headwater::kafka", %place, %code, "fetching, trying again");
        }
        return Came::Again;
    }
    if code == Code::OFFSET_OUT_OF_RANGE {
        let offset = ask.position.unwrap_or(0);
        let context = format!("fetching {} at offset {offset}", ask.place);
        let why = "the log no longer has (or does not have yet) this offset: records were deleted \
                   before they were processed, or the topic was made anew";
        return Came::Refused(TransportError::new(ErrorKind::Refused, context, why));
    }
    let context = format!("fetching {}", ask.place);
    Came::Failed(TransportError::new(ErrorKind::Refused, context, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_to_ask_again() {
        let place = TopicPartition::new("t", 0);
        let ask = Ask { number: 1, place, position: Some(7), bytes: 1, troubled_since: None };
        for code in [Code::UNKNOWN_SERVER_ERROR, Code::NOT_LEADER_OR_FOLLOWER] {
            assert!(matches!(refused(&ask, code), Came::Again), "{code}");
        }
        assert!(matches!(refused(&ask, Code::OFFSET_OUT_OF_RANGE), Came::Refused(_)));
        assert!(matches!(refused(&ask, Code::TOPIC_AUTHORIZATION_FAILED), Came::Failed(_)));
    }
}

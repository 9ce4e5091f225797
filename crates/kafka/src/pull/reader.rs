//! The transport's reader over this client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use runtime::transport::{ErrorKind, Fetched, Reader, Result, TransportError};
use streams_core::TopicPartition;

use super::fetcher::Share;
use super::finder::Pullers;
use super::intake::{Intake, SharedIntake};
use super::settings::PullSettings;
use crate::cluster::{ATTEMPT, Cluster, MISSING};
use crate::wire::{self, Code, Connection, Leader, ListOffsets, Place, WireError};

pub(crate) struct PullReader {
    cluster: Arc<Cluster>,
    intake: SharedIntake,
    /// For questions about bounds.
    brokers: BTreeMap<i32, Connection>,
    leaders: BTreeMap<Arc<str>, (Instant, Vec<Leader>)>,
    /// Since when the bounds of a partition cannot be told.
    troubles: BTreeMap<TopicPartition, Instant>,
}

/// Leaders are looked up again after so long, although nothing is wrong: one that is cut off from
/// the other brokers answers on, with where its partitions ended then.
const REFRESH: Duration = Duration::from_secs(1);

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl PullReader {
    /// At most `bytes_max` bytes may wait.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        settings: PullSettings,
        bytes_max: usize,
    ) -> Result<Self> {
        let intake = Arc::new(Intake::new(settings, Share::new(bytes_max)));
        Pullers::start(&intake, &cluster)?;
        let (brokers, leaders, troubles) = Default::default();
        Ok(Self { cluster, intake, brokers, leaders, troubles })
    }

    fn ask(&mut self, place: &TopicPartition, deadline: Instant) -> wire::Result<(i64, i64)> {
        let TopicPartition { topic, partition } = place;
        let now = Instant::now();
        if self.leaders.get(topic).is_none_or(|(since, _)| now.duration_since(*since) >= REFRESH) {
            if self.leaders.remove(topic).is_some() {
                self.cluster.ask_another();
            }
            let found = self.cluster.topics(&[Arc::clone(topic)], deadline)?;
            let found = found.into_iter().next().ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
            found.code.ok()?;
            self.leaders.insert(Arc::clone(topic), (now, found.leaders));
        }
        let number = usize::try_from(*partition).unwrap_or(usize::MAX);
        let leader = self.leaders.get(topic).and_then(|(_, leaders)| leaders.get(number));
        let Leader { broker, epoch } = *leader.ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let mut connection = match self.brokers.remove(&broker) {
            Some(connection) => connection,
            // Kept for the next attempt, so it may take longer than this one.
            None => self.cluster.broker(broker, deadline.max(now + ATTEMPT))?,
        };
        if Instant::now() >= deadline {
            self.brokers.insert(broker, connection);
            return Err(Code::REQUEST_TIMED_OUT.into());
        }
        let partition = *partition;
        let mut offset =
            |place| ListOffsets { topic, partition, epoch, place }.call(&mut connection, deadline);
        let bounds = offset(Place::Beginning).and_then(|begin| Ok((begin, offset(Place::End)?)));
        let is_right = match &bounds {
            Ok(_) => true,
            Err(WireError::Refused(code)) => !code.is_of_another_broker(),
            Err(_) => false,
        };
        if is_right {
            self.brokers.insert(broker, connection);
        }
        bounds
    }

    /// What has to be done about an error, which depends on how long there have been some: callers
    /// who cannot wait ask often.
    fn kind_of(&mut self, error: &WireError, partition: &TopicPartition) -> ErrorKind {
        let is_first = !self.troubles.contains_key(partition);
        let since = *self.troubles.entry(partition.clone()).or_insert_with(Instant::now);
        match error {
            WireError::Refused(Code::UNKNOWN_TOPIC_OR_PARTITION) if since.elapsed() >= MISSING => {
                ErrorKind::NotFound
            }
            WireError::Refused(code) if code.is_passing_in_reading() => {
                if *code == Code::UNKNOWN_SERVER_ERROR && is_first {
                    tracing::warn!(target: "headwater::kafka", %partition, %code, "its bounds");
                }
                ErrorKind::Retriable
            }
            error if !error.is_passing() => ErrorKind::Refused,
            _ => ErrorKind::Retriable,
        }
    }
}

impl Reader for PullReader {
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)> {
        let deadline = Instant::now() + timeout;
        loop {
            let error = match self.ask(partition, deadline) {
                Ok(bounds) => {
                    self.troubles.remove(partition);
                    return Ok(bounds);
                }
                Err(error) => error,
            };
            let is_slow = matches!(error, WireError::Refused(Code::REQUEST_TIMED_OUT));
            // Somebody else may lead it now.
            if !is_slow && self.leaders.remove(&partition.topic).is_some() {
                self.cluster.ask_another();
            }
            let kind = self.kind_of(&error, partition);
            if kind != ErrorKind::Retriable || Instant::now() + PAUSE >= deadline {
                let context = format!("the bounds of {partition}");
                return Err(TransportError::new(kind, context, error));
            }
            thread::sleep(PAUSE);
        }
    }

    fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        self.intake.add(partition, Some(offset));
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.intake.remove(partition);
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.intake.poll(timeout, records_max)
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.intake.position(partition)
    }

    fn waiting_bytes(&self) -> usize {
        self.intake.waiting_bytes()
    }
}

impl Drop for PullReader {
    fn drop(&mut self) {
        self.intake.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Clusters;
    use crate::config::KafkaConfig;

    #[test]
    fn a_topic_is_missing_only_after_a_while() {
        let kafka = KafkaConfig::new("127.0.0.1:1").expect("brokers");
        let settings = PullSettings::new(&kafka, true).expect("known");
        let cluster = Clusters::default().get(&settings.access);
        let mut reader = PullReader::new(cluster, settings, 1 << 20).expect("threads");
        let (place, unknown) = (TopicPartition::new("t", 0), Code::UNKNOWN_TOPIC_OR_PARTITION);
        let mut kind = |code: Code, ago: Option<Duration>| {
            let since = ago.and_then(|ago| Instant::now().checked_sub(ago));
            since.map(|since| reader.troubles.insert(place.clone(), since));
            reader.kind_of(&code.into(), &place)
        };
        assert_eq!(kind(unknown, None), ErrorKind::Retriable, "it may just have been made");
        assert_eq!(kind(unknown, Some(MISSING / 2)), ErrorKind::Retriable);
        assert_eq!(kind(unknown, Some(MISSING)), ErrorKind::NotFound);
        assert_eq!(kind(Code::UNKNOWN_SERVER_ERROR, Some(MISSING)), ErrorKind::Retriable);
        assert_eq!(kind(Code::TOPIC_AUTHORIZATION_FAILED, None), ErrorKind::Refused);
    }
}

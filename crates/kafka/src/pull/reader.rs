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
use crate::cluster::Cluster;
use crate::wire::{self, Code, Connection, Leader, ListOffsets, Place, WireError};

pub(crate) struct PullReader {
    cluster: Arc<Cluster>,
    intake: SharedIntake,
    /// For questions about bounds.
    brokers: BTreeMap<i32, Connection>,
    leaders: BTreeMap<Arc<str>, (Instant, Vec<Leader>)>,
}

/// Leaders are looked up again after so long, although nothing is wrong.
const REFRESH: Duration = Duration::from_secs(30);

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
        Ok(Self { cluster, intake, brokers: BTreeMap::new(), leaders: BTreeMap::new() })
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
        let leader = leader.ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?.broker;
        let mut connection = match self.brokers.remove(&leader) {
            Some(connection) => connection,
            None => self.cluster.broker(leader, deadline)?,
        };
        let mut offset = |place| {
            ListOffsets { topic, partition: *partition, place }.call(&mut connection, deadline)
        };
        let bounds = (offset(Place::Beginning)?, offset(Place::End)?);
        self.brokers.insert(leader, connection);
        Ok(bounds)
    }
}

impl Reader for PullReader {
    fn bounds(&mut self, partition: &TopicPartition, timeout: Duration) -> Result<(i64, i64)> {
        let (deadline, mut warned) = (Instant::now() + timeout, false);
        loop {
            let error = match self.ask(partition, deadline) {
                Ok(bounds) => return Ok(bounds),
                Err(error) => error,
            };
            // Somebody else may lead it now.
            if self.leaders.remove(&partition.topic).is_some() {
                self.cluster.ask_another();
            }
            let kind = match &error {
                WireError::Refused(Code::UNKNOWN_TOPIC_OR_PARTITION) => ErrorKind::NotFound,
                WireError::Refused(code) if code.is_passing_in_reading() => {
                    if *code == Code::UNKNOWN_SERVER_ERROR && !std::mem::replace(&mut warned, true)
                    {
                        tracing::warn!(target: "headwater::kafka", %partition, %code, "its bounds");
                    }
                    ErrorKind::Retriable
                }
                error if !error.is_passing() => ErrorKind::Refused,
                _ => ErrorKind::Retriable,
            };
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

//! The transport's fetcher over this client.

use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{FetchProgress, Fetched, Fetcher, Result};
use streams_core::TopicPartition;

use super::finder::Pullers;
use super::intake::{Intake, SharedIntake};
use super::settings::PullSettings;
use crate::cluster::Cluster;

pub(crate) struct PullFetcher {
    intake: SharedIntake,
}

/// A part of the bytes that may wait in a process; all holders have the same.
#[derive(Clone)]
pub(crate) struct Share {
    whole: usize,
    holders: Arc<()>,
}

impl Share {
    /// To be shared out by cloning; the original does not count.
    pub(crate) fn new(whole: usize) -> Self {
        Self { whole, holders: Arc::default() }
    }

    pub(super) fn bytes(&self) -> usize {
        let holders = Arc::strong_count(&self.holders).saturating_sub(1);
        self.whole / holders.max(1)
    }
}

impl PullFetcher {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        settings: PullSettings,
        share: Share,
    ) -> Result<Self> {
        let intake = Arc::new(Intake::new(settings, share));
        Pullers::start(&intake, cluster)?;
        Ok(Self { intake })
    }
}

impl Fetcher for PullFetcher {
    fn add(&mut self, partition: &TopicPartition, offset: Option<i64>) -> Result<()> {
        self.intake.add(partition, offset);
        Ok(())
    }

    fn remove(&mut self, partition: &TopicPartition) -> Result<()> {
        self.intake.remove(partition);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.intake.pause(partition, true);
        Ok(())
    }

    fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.intake.pause(partition, false);
        Ok(())
    }

    fn poll(&mut self, timeout: Duration, records_max: usize) -> Result<Vec<Fetched>> {
        self.intake.poll(timeout, records_max)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let intake = Arc::clone(&self.intake);
        Arc::new(move || intake.wake())
    }

    fn is_at_end(&self, partition: &TopicPartition) -> bool {
        self.intake.is_at_end(partition)
    }

    fn progress(&self) -> Vec<(TopicPartition, FetchProgress)> {
        self.intake.progress()
    }

    fn waiting_bytes(&self) -> usize {
        self.intake.waiting_bytes()
    }
}

impl Drop for PullFetcher {
    fn drop(&mut self) {
        self.intake.close();
    }
}

//! The transport itself, and its administrative client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use runtime::transport::{
    Admin, Member, MemberConfig, NewTopic, Producer, ProducerConfig, Reader, ReaderConfig,
    RecordBytesMax, Result, TopicInfo, Transport,
};
use streams_core::TopicPartition;

use super::group::FaultyMember;
use super::producer::FaultyProducer;
use super::reading::FaultyReader;
use super::{Faults, TransportCall};

pub(super) struct FaultyTransport {
    pub(super) log: Arc<dyn Transport>,
    pub(super) faults: Faults,
}

impl fmt::Debug for FaultyTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with faults", self.log)
    }
}

impl Transport for FaultyTransport {
    fn admin(&self) -> Result<Box<dyn Admin>> {
        Ok(Box::new(FaultyAdmin { admin: self.log.admin()?, faults: self.faults.clone() }))
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>> {
        let member = self.faults.call(TransportCall::Open, || self.log.member(config))?;
        Ok(Box::new(FaultyMember::new(member, self.faults.clone())))
    }

    fn producer(&self, config: &ProducerConfig) -> Result<Box<dyn Producer>> {
        let producer = self.faults.call(TransportCall::Open, || self.log.producer(config))?;
        let log = Arc::clone(&self.log);
        let config = config.clone();
        let again = Arc::new(move || log.producer(&config));
        Ok(Box::new(FaultyProducer::new(producer, again, self.faults.clone())))
    }

    fn reader(&self, config: &ReaderConfig) -> Result<Box<dyn Reader>> {
        let reader = self.faults.call(TransportCall::Open, || self.log.reader(config))?;
        Ok(Box::new(FaultyReader { reader, faults: self.faults.clone() }))
    }

    fn record_bytes_max(&self) -> Option<RecordBytesMax> {
        self.log.record_bytes_max()
    }
}

struct FaultyAdmin {
    admin: Box<dyn Admin>,
    faults: Faults,
}

impl Admin for FaultyAdmin {
    fn describe(
        &mut self,
        topics: &[Arc<str>],
        timeout: Duration,
    ) -> Result<Vec<Option<TopicInfo>>> {
        self.faults.call(TransportCall::Admin, || self.admin.describe(topics, timeout))
    }

    fn create(&mut self, topic: &NewTopic, timeout: Duration) -> Result<()> {
        self.faults.call(TransportCall::Admin, || self.admin.create(topic, timeout))
    }

    fn delete_records(
        &mut self,
        before: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<()> {
        self.faults.call(TransportCall::Admin, || self.admin.delete_records(before, timeout))
    }
}

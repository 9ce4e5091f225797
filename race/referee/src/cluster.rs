//! What the referee needs from Kafka.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::Result;
use crate::data::customers::CustomerChange;
use crate::data::{DataSet, Order, partition};

const REQUEST_WITHIN: Duration = Duration::from_secs(10);
const FLUSH_WITHIN: Duration = Duration::from_secs(120);

pub(crate) struct RaceCluster {
    pub(crate) bootstrap: String,
    /// Of every topic.
    pub(crate) partitions: u32,
}

impl RaceCluster {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// A client that commits nothing, with the offsets of `group` to look at.
    pub(crate) fn client(&self, group: &str, isolation: &str) -> Result<BaseConsumer> {
        let client = self
            .config()
            .set("group.id", group)
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .create()?;
        Ok(client)
    }

    /// Reads a topic from the offset of each partition on.
    pub(crate) fn reader(
        &self,
        topic: &str,
        offset: impl Fn(i32) -> Offset,
        settings: &[(&str, &str)],
    ) -> Result<BaseConsumer> {
        let mut config = self.config();
        config.set("group.id", "referee").set("enable.auto.commit", "false");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let reader: BaseConsumer = config.create()?;
        let mut all = TopicPartitionList::new();
        for partition in self.all_partitions() {
            all.add_partition_offset(topic, partition, offset(partition))?;
        }
        reader.assign(&all)?;
        Ok(reader)
    }

    pub(crate) fn feeder(&self, settings: &[(&str, &str)]) -> Result<Feeder> {
        let mut config = self.config();
        config.set("compression.type", "lz4").set("enable.idempotence", "true");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let producer = config.create()?;
        let partitions = self.partitions;
        Ok(Feeder { producer, partitions, value: String::new() })
    }

    /// One that sends much.
    pub(crate) fn bulk_feeder(&self) -> Result<Feeder> {
        self.feeder(&[
            ("linger.ms", "50"),
            ("batch.size", "262144"),
            ("batch.num.messages", "10000"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "1048576"),
        ])
    }

    pub(crate) fn all_partitions(&self) -> impl Iterator<Item = i32> + use<> {
        0..self.partitions as i32
    }

    pub(crate) fn topics(&self) -> Result<Vec<String>> {
        let client: BaseConsumer = self.config().create()?;
        let metadata = client.fetch_metadata(None, REQUEST_WITHIN)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    pub(crate) fn create(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<_> = self.config().create()?;
        let replicas = TopicReplication::Fixed(1);
        // Event times lie in the past: nothing may be deleted for its age.
        let wanted =
            NewTopic::new(topic, self.partitions as i32, replicas).set("retention.ms", "-1");
        let results = wait(admin.create_topics([&wanted], &options()))?;
        for result in results {
            result.map_err(|(topic, error)| format!("{topic} was not created: {error}"))?;
        }
        Ok(())
    }

    /// Deletes what begins with `prefix`.
    pub(crate) fn delete(&self, prefix: &str) -> Result<()> {
        let mut topics = self.topics()?;
        topics.retain(|topic| topic.starts_with(prefix));
        if topics.is_empty() {
            return Ok(());
        }
        let admin: AdminClient<_> = self.config().create()?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        for result in wait(admin.delete_topics(&names, &options()))? {
            result.map_err(|(topic, error)| format!("{topic} was not deleted: {error}"))?;
        }
        Ok(())
    }

    /// Fills a topic, unless it has all of its records already.
    pub(crate) fn fill(&self, topic: &str, data: &DataSet) -> Result<()> {
        if self.topics()?.iter().any(|name| name == topic) {
            let client = self.client("referee", "read_committed")?;
            if self.end(&client, topic)? == data.records as i64 {
                return Ok(());
            }
            return Err(format!("{topic} is there, and not whole").into());
        }
        self.create(topic)?;
        let mut feeder = self.bulk_feeder()?;
        for order in data.orders() {
            feeder.send(topic, &order, &order.key(data.key), Some(order.at_ms()))?;
        }
        feeder.flush()
    }

    /// The end of a topic as far as the client's isolation level sees, summed over its partitions.
    pub(crate) fn end(&self, client: &BaseConsumer, topic: &str) -> Result<i64> {
        self.all_partitions().map(|partition| end_of(client, topic, partition)).sum()
    }

    /// What the client's group has committed of a topic, summed over its partitions.
    pub(crate) fn committed(&self, client: &BaseConsumer, topic: &str) -> Result<i64> {
        let mut all = TopicPartitionList::new();
        for partition in self.all_partitions() {
            all.add_partition(topic, partition);
        }
        let offsets = client.committed_offsets(all, REQUEST_WITHIN)?;
        let elements = offsets.elements();
        let raw = elements.iter().filter_map(|partition| partition.offset().to_raw());
        Ok(raw.map(|offset| offset.max(0)).sum())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(REQUEST_WITHIN))
}

/// The end of a partition, as far as the client's isolation level sees.
pub(crate) fn end_of(client: &BaseConsumer, topic: &str, partition: i32) -> Result<i64> {
    Ok(client.fetch_watermarks(topic, partition, REQUEST_WITHIN)?.1)
}

/// Whether the group has members, and whether they have their partitions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumerGroup {
    Empty,
    Joining,
    Stable,
}

pub(crate) fn group(client: &BaseConsumer, name: &str) -> Result<ConsumerGroup> {
    let list = client.fetch_group_list(Some(name), REQUEST_WITHIN)?;
    let state = list.groups().iter().find(|group| group.name() == name);
    Ok(match state.map(|group| group.state()) {
        Some("Stable") => ConsumerGroup::Stable,
        Some("PreparingRebalance" | "CompletingRebalance") => ConsumerGroup::Joining,
        _ => ConsumerGroup::Empty,
    })
}

/// Sends orders, and changes of customers.
pub(crate) struct Feeder {
    producer: BaseProducer,
    partitions: u32,
    value: String,
}

impl Feeder {
    pub(crate) fn send(
        &mut self,
        topic: &str,
        order: &Order,
        key: &str,
        at_ms: Option<i64>,
    ) -> Result<()> {
        order.json(&mut self.value)?;
        self.send_record(topic, key, Some(&self.value), at_ms)
    }

    pub(crate) fn send_change(&mut self, topic: &str, change: &CustomerChange) -> Result<()> {
        let mut value = std::mem::take(&mut self.value);
        let json = change.json(&mut value)?;
        self.send_record(topic, &change.key(), json, Some(change.at_ms))?;
        self.value = value;
        Ok(())
    }

    fn send_record(
        &self,
        topic: &str,
        key: &str,
        value: Option<&str>,
        at_ms: Option<i64>,
    ) -> Result<()> {
        let partition = partition(key.as_bytes(), self.partitions);
        let mut record = BaseRecord::<str, str>::to(topic).key(key).partition(partition);
        record.payload = value;
        record.timestamp = at_ms;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn serve_reports(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(FLUSH_WITHIN)?)
    }
}

/// librdkafka's own threads do the work; this only looks whether it is done.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
